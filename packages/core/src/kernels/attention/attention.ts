import { input } from '../../graph/expr.ts';
import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { elementwise } from '../elementwise/elementwise.ts';
import { chooseAttention } from './choose.ts';
import { directKernel } from './direct.ts';
import { matrixAttention } from './matrix.ts';
import type { AttentionProblem } from './problem.ts';
import { rowsKernel } from './rows.ts';
import { wideKernel } from './wide.ts';
import { wideMatrixAttention } from './wide-matrix.ts';

/** Emits attention. Values whose size is no multiple of four go through padded memory. */
export function attention(lowering: Lowering, problem: AttentionProblem): void {
  const { valueSize, batch, heads, queries } = problem;
  if (valueSize % 4 === 0) {
    dispatchAttention(lowering, problem);
    return;
  }
  const padded = Math.ceil(valueSize / 4) * 4;
  const memory = lowering.scratch('padded', [batch, queries, heads, padded], 'f32');
  const whole: TensorView = {
    ...memory,
    shape: [batch, heads, queries, padded],
    strides: [queries * heads * padded, padded, heads * padded, 1],
  };
  dispatchAttention(lowering, { ...problem, output: whole, epilogue: undefined });
  const part = { ...whole, shape: [batch, heads, queries, valueSize] };
  const expr = problem.epilogue?.expr ?? input(0);
  lowering.dispatch(
    elementwise('attention_unpad', expr, [part, ...(problem.epilogue?.operands ?? [])], problem.output),
  );
}

function dispatchAttention(lowering: Lowering, problem: AttentionProblem): void {
  const rule = chooseAttention(problem, lowering.capabilities, lowering.precision);
  const choice = lowering.tuning.attention?.(problem, rule) ?? rule;
  switch (choice.kind) {
    case 'direct':
      lowering.dispatch(directKernel(problem, choice.shape));
      break;
    case 'rows':
      lowering.dispatch(rowsKernel(problem, choice.shape));
      break;
    case 'matrix':
      lowering.dispatch(matrixAttention(problem, choice.shape));
      break;
    case 'wide':
      lowering.dispatch(wideKernel(problem, choice.shape));
      break;
    case 'wide-matrix':
      lowering.dispatch(wideMatrixAttention(problem, choice.shape));
      break;
  }
}
