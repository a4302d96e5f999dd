import { countReads, input, substitute, type CallExpr, type Expr } from '../graph/expr.ts';

/** One of several expressions that together compute one. */
export interface ExprPart {
  /** Reads `operands[k]` as input k. */
  expr: Expr;
  /** Operands of the whole by their number; from `count` on, results of the parts before, in order. */
  operands: number[];
}

/**
 * Cuts an expression into parts that read at most `most` operands each (at least 3, which a call may have). The last
 * one computes the result.
 *
 * @param count operands of the whole
 */
export function splitExpr(expr: Expr, count: number, most: number): ExprPart[] {
  const parts: ExprPart[] = [];
  let rest = expr;
  while (countReads(rest).size > most) {
    const cut = largestPart(rest, most);
    if (!cut) throw new Error(`Internal error: a scalar function of more than ${most} operands`);
    const result = input(count + parts.length, cut.type);
    parts.push(renumbered(cut));
    rest = replaced(rest, cut, result);
  }
  return [...parts, renumbered(rest)];
}

/** The call inside that reads most operands, up to `most`. */
function largestPart(expr: Expr, most: number): CallExpr | undefined {
  if (expr.kind !== 'call') return undefined;
  const reads = countReads(expr).size;
  if (reads <= most) return reads > 1 ? expr : undefined;
  let best: CallExpr | undefined;
  for (const arg of expr.args) {
    const found = largestPart(arg, most);
    if (found && (!best || countReads(found).size > countReads(best).size)) best = found;
  }
  return best;
}

function replaced(expr: Expr, what: Expr, by: Expr): Expr {
  if (expr === what) return by;
  return expr.kind === 'call' ? { ...expr, args: expr.args.map((arg) => replaced(arg, what, by)) } : expr;
}

function renumbered(expr: Expr): ExprPart {
  const operands = [...countReads(expr).keys()].toSorted((a, b) => a - b);
  return { expr: substitute(expr, ({ index, type }) => input(operands.indexOf(index), type)), operands };
}
