import { call, constant, type CallExpr, type Expr, isConst } from './expr.ts';
import { simplifyProduct } from './simplify-product.ts';
import { scalarFunctions } from './scalar-functions.ts';

/**
 * The same expression, shorter: constants are computed, neutral ones dropped, and activations that exporters spell out
 * (SiLU, GELU, softplus, …) become one function. Equal up to rounding.
 */
export function simplify(expr: Expr): Expr {
  if (expr.kind !== 'call') return expr;
  const args = expr.args.map(simplify);
  const same = args.every((arg, i) => arg === expr.args[i]);
  return simplifyCall(same ? expr : { ...expr, args });
}

/** A call whose arguments are simple. */
function simplifyCall(expr: CallExpr): Expr {
  const { fn, args, type } = expr;
  const [a, b, c] = args as [Expr, Expr, Expr];
  if (args.length > 0 && args.every((arg) => arg.kind === 'const')) {
    const js = scalarFunctions[fn]?.js;
    if (js) return constant(js(...args.map((arg) => (arg.kind === 'const' ? arg.value : NaN))), type);
  }
  switch (fn) {
    case 'add':
      if (isConst(a, 0)) return b;
      if (isConst(b, 0)) return a;
      return a.kind === 'const' ? call('add', [b, a], type) : expr;
    case 'sub':
      if (isConst(b, 0)) return a;
      return isConst(a, 0) ? call('neg', [b], type) : expr;
    case 'neg':
      return a.kind === 'call' && a.fn === 'neg' ? a.args[0]! : expr;
    case 'mul':
      return type === 'f32' ? simplifyProduct(expr) : isConst(a, 1) ? b : isConst(b, 1) ? a : expr;
    case 'div':
      return type === 'f32' ? simplifyQuotient(expr) : expr;
    case 'reciprocal':
      return simplifyQuotient(call('div', [constant(1), a]));
    case 'log': {
      const exponential = plusOne(a);
      return exponential && isCall(exponential, 'exp') ? call('softplus', [exponential.args[0]!]) : expr;
    }
    case 'select':
      return a.kind === 'const' ? (a.value !== 0 ? b : c) : expr;
    case 'toF32':
    case 'toI32':
    case 'toU32':
    case 'toBool':
      return a.type === type ? a : expr;
    default:
      return expr;
  }
}

function simplifyQuotient(expr: CallExpr): Expr {
  const [a, b] = expr.args as [Expr, Expr];
  if (b.kind === 'const' && b.value !== 0 && Number.isFinite(1 / b.value)) {
    return simplifyCall(call('mul', [a, constant(1 / b.value)]));
  }
  // 1 / (1 + exp(-x))
  const exponential = plusOne(b);
  if (exponential && isCall(exponential, 'exp')) {
    const power = exponential.args[0]!;
    const x = isCall(power, 'neg') ? power.args[0]! : undefined;
    if (x) return simplifyCall(call('mul', [a, call('sigmoid', [x])]));
  }
  if (isCall(b, 'sqrt')) return simplifyCall(call('mul', [a, call('rsqrt', b.args)]));
  return isConst(a, 1) ? call('reciprocal', [b]) : expr;
}

/** What 1 is added to; constants stand on the right by now. */
function plusOne(expr: Expr): Expr | undefined {
  return isCall(expr, 'add') && isConst(expr.args[1]!, 1) ? expr.args[0] : undefined;
}

function isCall(expr: Expr, fn: string): expr is CallExpr {
  return expr.kind === 'call' && expr.fn === fn;
}
