import { input, substitute, type Expr } from '../../graph/expr.ts';
import type { TensorView } from '../../plan/plan.ts';
import type { EpilogueViews } from '../elementwise/epilogue.ts';

/**
 * Puts work of the operator itself (a bias, Gemm's `beta · C`) before what was fused onto it.
 *
 * @param first reads the result as input 0 and `operands[k]` as input k + 1
 */
export function before(
  first: Expr,
  operands: readonly TensorView[],
  fused: EpilogueViews | undefined,
): EpilogueViews {
  if (!fused) return { expr: first, operands };
  const expr = substitute(fused.expr, (x) =>
    x.index === 0 ? first : input(x.index + operands.length, x.type),
  );
  return { expr, operands: [...operands, ...fused.operands] };
}
