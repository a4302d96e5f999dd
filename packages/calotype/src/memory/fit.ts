import { footprintOf, OutOfMemoryError, type Footprint, type WeightFormat } from '@calotype/core';
import type { PlannedGraph } from './shapes.ts';

/** What one graph of a model takes. */
export interface ComponentPlan {
  /** Its folder, e.g. `unet`. */
  component: string;
  weights: WeightFormat;
  /** Bytes of its files. */
  fileBytes: number;
  /** Of `fileBytes`: what the cache has already. */
  cachedBytes: number;
  /** Bytes on the GPU; `undefined` where it cannot run at this size, as `problem` says. */
  footprint: Footprint | undefined;
  problem: string | undefined;
}

/** How a model fits: all stages beside each other, one at a time, or not at all. */
export type Fit = 'resident' | 'swapped' | 'none';

export interface PeakBytes {
  /** Bytes that stay on the GPU when every stage stays: weights, intermediates, parameters. */
  residentBytes: number;
  /** The most that loading and running take when every stage stays. */
  peakBytes: number;
  /** The most that they take when only one stage is there at a time, and comes back from the cache for each picture. */
  swappedPeakBytes: number;
}

/** @param weights plans as if the weights were made that at load */
export async function footprintFor(
  { session, inputs }: PlannedGraph,
  weights?: WeightFormat,
): Promise<Pick<ComponentPlan, 'footprint' | 'problem'>> {
  try {
    const plan = await session.plan(inputs, weights ? { weights } : {});
    return { footprint: footprintOf(plan), problem: undefined };
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    return { footprint: undefined, problem: error.message };
  }
}

/**
 * Bytes with all stages beside each other, and with one at a time.
 *
 * @param requestBytes what a request takes beside the graphs
 */
export function bytesOf(
  components: readonly Pick<ComponentPlan, 'footprint'>[],
  requestBytes: number,
): PeakBytes {
  let residentBytes = 0;
  let peakBytes = 0;
  let swappedPeakBytes = 0;
  for (const { footprint } of components) {
    if (!footprint) continue;
    peakBytes = Math.max(peakBytes, residentBytes + footprint.peakBytes);
    swappedPeakBytes = Math.max(swappedPeakBytes, footprint.peakBytes);
    residentBytes += footprint.weightBytes + footprint.intermediateBytes + footprint.paramBytes;
  }
  // The stage with the largest inputs and outputs may run when all others are there.
  const ports = components.map(
    ({ footprint }) => (footprint?.inputBytes ?? 0) + (footprint?.outputBytes ?? 0),
  );
  return {
    residentBytes,
    peakBytes: requestBytes + Math.max(peakBytes, residentBytes + Math.max(0, ...ports)),
    swappedPeakBytes: requestBytes + swappedPeakBytes,
  };
}

/** How something of these bytes fits. */
export function fitOf(
  bytes: Pick<PeakBytes, 'peakBytes' | 'swappedPeakBytes'>,
  components: readonly Pick<ComponentPlan, 'problem'>[],
  budget: number | undefined,
): Fit {
  if (components.some(({ problem }) => problem !== undefined)) return 'none';
  if (budget === undefined || bytes.peakBytes <= budget) return 'resident';
  return bytes.swappedPeakBytes <= budget ? 'swapped' : 'none';
}
