import type { Lowering } from '../../plan/lowering.ts';
import { chooseGemm, type GemmChoice } from './choose.ts';
import { maySplit } from './choose-fma.ts';
import { directKernel } from './direct.ts';
import { fmaKernel } from './fma.ts';
import { gemvKernel } from './gemv.ts';
import { fitsHalo } from './halo.ts';
import { matrixKernel } from './matrix.ts';
import { momentsOf } from './moments.ts';
import { partialElements, type PartialSums } from './output.ts';
import { integerBits, prepareB } from './pack.ts';
import { columnPieces } from './column-pieces.ts';
import { fromPair } from './pair-source.ts';
import { withoutGate, type GemmProblem } from './problem.ts';
import { reduceKernel } from './reduce.ts';
import { isWinograd, winograd } from './winograd.ts';

/**
 * Emits the dispatches of a product: packing of B (at load for weights), the product, and where its depth is split or
 * its rows are not whole groups of four columns, a second one that sums and stores.
 */
export function gemm(lowering: Lowering, problem: GemmProblem): void {
  for (const piece of columnPieces(lowering, fromPair(lowering, problem)))
    multiply(lowering, withBits(lowering, piece));
}

/** The same product, which says whether its weight stays in integers. */
function withBits(lowering: Lowering, problem: GemmProblem): GemmProblem {
  const { b } = problem;
  const bits = b.kind === 'weight' ? integerBits(lowering, problem, b) : undefined;
  return bits && b.kind === 'weight' ? { ...problem, b: { ...b, bits } } : problem;
}

/** What was measured may have been a weight in one part, or in floats. */
function fits(problem: GemmProblem, choice: GemmChoice, winogradFits: boolean): boolean {
  if (choice.kind === 'winograd') return winogradFits;
  return choice.kind !== 'matrix' || !choice.tile.halo || fitsHalo(problem, choice.tile.tileDepth);
}

function multiply(lowering: Lowering, problem: GemmProblem): void {
  const winogradFits = isWinograd(lowering, problem);
  const rule = chooseGemm(problem, lowering.capabilities, lowering.precision, winogradFits);
  const tuned = lowering.tuning.gemm?.(problem, rule) ?? rule;
  const choice = fits(problem, tuned, winogradFits) ? tuned : rule;
  if (choice.kind === 'winograd') {
    winograd(lowering, problem, choice);
    return;
  }
  const { part } = problem.output;
  const slices = 'slices' in choice && maySplit(problem) ? choice.slices : 1;
  // A gate needs whole sums.
  const gateLater = problem.gate !== undefined && slices > 1;
  const product = gateLater ? withoutGate(problem) : problem;
  const partial: PartialSums | undefined =
    slices > 1 || (problem.columns % 4 !== 0 && !part)
      ? { view: lowering.scratch('partial', [slices * partialElements(product)], 'f32'), slices }
      : undefined;
  switch (choice.kind) {
    case 'gemv': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(gemvKernel(problem, b, choice.shape, partial, lowering.nativeF16));
      break;
    }
    case 'direct': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(directKernel(problem, b, choice.tile, partial, lowering.nativeF16));
      break;
    }
    case 'fma': {
      const b = prepareB(lowering, problem, { layout: 'kn', columnStep: 4, depthStep: 4 });
      lowering.dispatch(fmaKernel(product, b, choice.tile, partial, lowering.nativeF16));
      break;
    }
    case 'matrix': {
      const { layout } = choice.tile;
      const b = prepareB(lowering, problem, { layout, columnStep: 8, depthStep: 8 });
      const moments = partial ? undefined : momentsOf(lowering, problem, choice.tile);
      lowering.dispatch(matrixKernel(product, b, choice, partial, moments));
      if (moments) lowering.produced(problem.output.view, moments);
      break;
    }
  }
  if (partial) lowering.dispatch(reduceKernel(problem, partial, gateLater));
}
