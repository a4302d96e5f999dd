/**
 * Scalar expressions: what elementwise operators, fused chains of them and epilogues compute for one element.
 * One table (`scalar-functions.ts`) gives every function its JavaScript and its WGSL form, so that constant folding
 * on the CPU and kernels on the GPU cannot disagree.
 */
export type Expr = InputExpr | ConstExpr | CallExpr;

/** Arithmetic type of an expression. Floats are computed in f32 whatever they are stored as. */
export type ScalarType = 'f32' | 'i32' | 'u32' | 'bool';

/** Element of the operand with that index. */
export interface InputExpr {
  kind: 'input';
  index: number;
  type: ScalarType;
}

export interface ConstExpr {
  kind: 'const';
  value: number;
  type: ScalarType;
}

export interface CallExpr {
  kind: 'call';
  /** Name in the table of scalar functions. */
  fn: string;
  args: Expr[];
  type: ScalarType;
}

export function input(index: number, type: ScalarType = 'f32'): InputExpr {
  return { kind: 'input', index, type };
}

export function constant(value: number, type: ScalarType = 'f32'): ConstExpr {
  return { kind: 'const', value, type };
}

export function call(fn: string, args: Expr[], type: ScalarType = 'f32'): CallExpr {
  return { kind: 'call', fn, args, type };
}

/** Replaces every operand by what `replace` gives for its index. */
export function substitute(expr: Expr, replace: (input: InputExpr) => Expr): Expr {
  switch (expr.kind) {
    case 'input':
      return replace(expr);
    case 'const':
      return expr;
    case 'call':
      return { ...expr, args: expr.args.map((arg) => substitute(arg, replace)) };
  }
}

/** Text form for plans and tests: `silu(add(x0, x1))`. */
export function printExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'input':
      return `x${expr.index}`;
    case 'const':
      return String(expr.value);
    case 'call':
      return `${expr.fn}(${expr.args.map(printExpr).join(', ')})`;
  }
}

/** Whether two expressions are written the same. */
export function sameExpr(a: Expr, b: Expr): boolean {
  if (a === b) return true;
  if (a.type !== b.type) return false;
  switch (a.kind) {
    case 'input':
      return b.kind === 'input' && a.index === b.index;
    case 'const':
      return b.kind === 'const' && Object.is(a.value, b.value);
    case 'call':
      return (
        b.kind === 'call' &&
        a.fn === b.fn &&
        a.args.length === b.args.length &&
        a.args.every((arg, i) => sameExpr(arg, b.args[i]!))
      );
  }
}

export function isConst(expr: Expr, value: number): boolean {
  return expr.kind === 'const' && expr.value === value;
}

/** Number of calls in an expression written out. */
export function countCalls(expr: Expr): number {
  return expr.kind === 'call' ? expr.args.reduce((sum, arg) => sum + countCalls(arg), 1) : 0;
}

/** How often each operand is read, by index. */
export function countReads(expr: Expr, counts: Map<number, number> = new Map()): Map<number, number> {
  if (expr.kind === 'input') counts.set(expr.index, (counts.get(expr.index) ?? 0) + 1);
  if (expr.kind === 'call') for (const arg of expr.args) countReads(arg, counts);
  return counts;
}
