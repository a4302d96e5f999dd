import type { Lowering } from '../../plan/lowering.ts';
import { packedBits } from './pack.ts';
import type { GemmProblem } from './problem.ts';

/** Pieces are whole groups of columns of every back end. */
const COLUMN_STEP = 8;

/**
 * The product, or several over some of its columns each where no binding holds its weight. Weights whose columns belong
 * to each other (gates, groups) and odd widths are never cut.
 */
export function columnPieces(lowering: Lowering, problem: GemmProblem): GemmProblem[] {
  const { b, columns, depth, output } = problem;
  if (b.kind !== 'weight' || b.groups > 1 || problem.gate || output.part || columns % 4 !== 0)
    return [problem];
  const { maxBufferSize, maxStorageBufferBindingSize } = lowering.capabilities.limits;
  const largest = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  const columnBytes = (Math.ceil(depth / 32) * 32 * packedBits(lowering, problem, b)) / 8;
  const width = Math.floor(largest / columnBytes / COLUMN_STEP) * COLUMN_STEP;
  if (columns * columnBytes <= largest || width === 0) return [problem];
  const pieces: GemmProblem[] = [];
  for (let first = 0; first < columns; first += width) {
    const view = { ...b.view, offset: b.view.offset + first * b.columnStride };
    pieces.push({
      ...problem,
      columns: Math.min(width, columns - first),
      b: { ...b, view },
      output: { ...output, part: { offset: first } },
    });
  }
  return pieces;
}
