import { call, constant, type CallExpr, type Expr, sameExpr } from './expr.ts';
import { scalarFunctions } from './scalar-functions.ts';

/** Exporters write constants in half precision: 0.70703 for the root of one half. */
const tolerance = 2e-3;

/** A product as its factors; constants are gathered in one. */
interface Product {
  factors: Expr[];
  constant: number;
}

/**
 * Finds x·sigmoid(x), x·(1 + erf(x/√2))/2 and the like among the factors of a product, in whatever order and however
 * they are bracketed.
 */
export function simplifyProduct(expr: CallExpr): Expr {
  const product: Product = { factors: [], constant: 1 };
  const constants = flatten(expr, product);
  let found = false;
  for (let i = 0; i < product.factors.length; i++) {
    const activation = matchActivation(product, i);
    if (!activation) continue;
    product.factors[activation.at] = activation.expr;
    found = true;
    i = -1;
  }
  return found || constants > 0 ? rebuild(product) : expr;
}

/** Collects the factors; the number of constants among them. */
function flatten(expr: Expr, into: Product): number {
  if (expr.kind === 'const') {
    into.constant *= expr.value;
    return 1;
  }
  if (expr.kind === 'call' && expr.fn === 'mul') {
    return expr.args.reduce((count, arg) => count + flatten(arg, into), 0);
  }
  into.factors.push(expr);
  return 0;
}

/** The constant stands on the right. */
function rebuild({ factors, constant: c }: Product): Expr {
  const [first, ...rest] = factors;
  if (!first) return constant(c);
  const product = rest.reduce((x, y) => call('mul', [x, y]), first);
  return c === 1 ? product : c === -1 ? call('neg', [product]) : call('mul', [product, constant(c)]);
}

/**
 * Takes factor `i` and the x it belongs to out of the product.
 *
 * @returns the function that they are, and where to put it among the factors that are left
 */
function matchActivation(product: Product, i: number): { expr: Expr; at: number } | undefined {
  const gate = product.factors[i]!;
  if (gate.kind !== 'call') return undefined;
  const others = product.factors.filter((_, k) => k !== i);
  const take = (
    x: Expr,
    fn: string,
    scale = 1,
    extra: Expr[] = [],
  ): { expr: Expr; at: number } | undefined => {
    const left = without(others, x);
    if (!left) return undefined;
    const at = Math.min(i, left.factors.length);
    product.factors = [...left.factors.slice(0, at), gate, ...left.factors.slice(at)];
    product.constant *= scale / left.constant;
    return { expr: call(fn, [x, ...extra]), at };
  };
  const [a, b] = gate.args;
  switch (gate.fn) {
    case 'sigmoid': {
      const { x, factor } = scaled(a!);
      if (factor === 1) return take(x, 'silu');
      if (near(factor, 1.702)) return take(x, 'quickGelu');
      return take(x, 'swish', 1, [constant(factor)]);
    }
    case 'tanh':
      return a!.kind === 'call' && a!.fn === 'softplus' ? take(a!.args[0]!, 'mish') : undefined;
    case 'add': {
      if (a!.kind !== 'call' || b!.kind !== 'const' || b!.value !== 1) return undefined;
      const inner = a!.args[0]!;
      if (a!.fn === 'erf') {
        const { x, factor } = scaled(inner);
        return near(factor, Math.SQRT1_2) ? take(x, 'gelu', 2) : undefined;
      }
      if (a!.fn !== 'tanh') return undefined;
      const x = others.find((candidate) => isGeluPolynomial(inner, candidate));
      return x && take(x, 'geluTanh', 2);
    }
    default:
      return undefined;
  }
}

/** The factors without those of `x`. `undefined` where it is not among them. */
function without(factors: readonly Expr[], x: Expr): Product | undefined {
  const wanted: Product = { factors: [], constant: 1 };
  flatten(x, wanted);
  const left = [...factors];
  for (const factor of wanted.factors) {
    const at = left.findIndex((other) => sameExpr(other, factor));
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return { factors: left, constant: wanted.constant };
}

/** `x · factor`, in the form that simplification gives. */
function scaled(expr: Expr): { x: Expr; factor: number } {
  if (expr.kind === 'call' && expr.fn === 'mul') {
    const [a, b] = expr.args;
    if (b!.kind === 'const') return { x: a!, factor: b!.value };
  }
  return expr.kind === 'call' && expr.fn === 'neg'
    ? { x: expr.args[0]!, factor: -1 }
    : { x: expr, factor: 1 };
}

/** Whether an expression is √(2/π)·(x + 0.044715·x³), of whose spellings there are too many: it is tried out. */
function isGeluPolynomial(expr: Expr, x: Expr): boolean {
  return [-3, -1.2, -0.4, 0.3, 1, 2.5].every((value) => {
    const wanted = Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3);
    return near(valueAt(expr, x, value), wanted);
  });
}

/** The expression's value where `x` in it has a value. NaN where it depends on anything else. */
function valueAt(expr: Expr, x: Expr, value: number): number {
  if (sameExpr(expr, x)) return value;
  if (expr.kind === 'const') return expr.value;
  if (expr.kind === 'input') return NaN;
  return scalarFunctions[expr.fn]?.js(...expr.args.map((arg) => valueAt(arg, x, value))) ?? NaN;
}

function near(actual: number, wanted: number): boolean {
  return Math.abs(actual - wanted) <= tolerance * Math.abs(wanted);
}
