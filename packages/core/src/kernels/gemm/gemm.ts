import type { Lowering } from '../../plan/lowering.ts';
import { chooseGemm } from './choose.ts';
import { directKernel } from './direct.ts';
import { fmaKernel } from './fma.ts';
import { gemvKernel } from './gemv.ts';
import { matrixKernel } from './matrix.ts';
import { partialElements, type PartialSums } from './output.ts';
import { prepareB } from './pack.ts';
import { columnPieces } from './column-pieces.ts';
import type { GemmProblem } from './problem.ts';
import { reduceKernel } from './reduce.ts';

/**
 * Emits the dispatches of a product: packing of B (at load for weights), the product, and where its depth is split or
 * its rows are not whole groups of four columns, a second one that sums and stores.
 */
export function gemm(lowering: Lowering, problem: GemmProblem): void {
  for (const piece of columnPieces(lowering, problem)) multiply(lowering, piece);
}

function multiply(lowering: Lowering, problem: GemmProblem): void {
  const rule = chooseGemm(problem, lowering.capabilities, lowering.precision);
  const choice = lowering.tuning.gemm?.(problem, rule) ?? rule;
  const { part } = problem.output;
  const slices = 'slices' in choice && !part ? choice.slices : 1;
  const partial: PartialSums | undefined =
    slices > 1 || (problem.columns % 4 !== 0 && !part)
      ? { view: lowering.scratch('partial', [slices * partialElements(problem)], 'f32'), slices }
      : undefined;
  switch (choice.kind) {
    case 'gemv': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(gemvKernel(problem, b, choice.shape, partial));
      break;
    }
    case 'direct': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(directKernel(problem, b, choice.tile, partial));
      break;
    }
    case 'fma': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(fmaKernel(problem, b, choice.tile, partial));
      break;
    }
    case 'matrix': {
      const { tile, emulated } = choice;
      const b = prepareB(lowering, problem, { layout: tile.layout, columnStep: 8, depthStep: 8 });
      lowering.dispatch(matrixKernel(problem, b, tile, partial, emulated));
      break;
    }
  }
  if (partial) lowering.dispatch(reduceKernel(problem, partial));
}
