/** What a thread reads at once; see reduce.wgsl. */
export type ReduceMode =
  /** Four neighbours along the innermost reduced axis. */
  | 'row'
  /** One element for each of four neighbouring results. */
  | 'column'
  | 'element';

export interface ReduceDesign {
  threads: number;
  /** Threads that share an item. */
  lanes: number;
  /** Whether neighbouring threads take neighbouring items. */
  neighbours: boolean;
  /** Parts of the reduced elements that go to different workgroups, and units of each. */
  chunks: number;
  chunkUnits: number;
}

/** Threads that give a large GPU enough to do. */
const ENOUGH_THREADS = 32_768;

/**
 * Chooses the design. Pure.
 *
 * @param items results, or groups of four of them
 * @param units loads for each item
 */
export function reduceDesign(mode: ReduceMode, items: number, units: number): ReduceDesign {
  const neighbours = mode === 'column';
  // Columns: 16 neighbouring vec4s are a run of 128 bytes of f16 at least, so 16 lanes are left of 256 threads.
  const mostLanes = neighbours && items >= 16 ? 16 : 256;
  const roundsWanted = mode === 'row' ? 8 : Infinity;
  let lanes = 1;
  while (
    lanes < mostLanes &&
    lanes * 2 <= units &&
    (items * lanes < ENOUGH_THREADS || units > roundsWanted * lanes)
  ) {
    lanes *= 2;
  }
  const threads = Math.max(lanes, items * lanes < ENOUGH_THREADS && lanes <= 64 && !neighbours ? 64 : 256);
  const workgroups = Math.ceil((items * lanes) / threads);
  // A second dispatch pays only where a lane would loop for long while most of the GPU idles.
  const rounds = Math.ceil(units / lanes);
  const wanted = rounds >= 64 && workgroups < 128 ? Math.ceil(512 / workgroups) : 1;
  const chunkUnits = Math.max(Math.ceil(units / wanted), Math.min(units, 16 * lanes), 1);
  return { threads, lanes, neighbours, chunks: Math.max(1, Math.ceil(units / chunkUnits)), chunkUnits };
}
