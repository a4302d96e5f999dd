import type { WeightFormat } from '@calotype/core';
import type { DiffusionModel } from '../model/model.ts';
import { bytesOf, fitOf, footprintFor, type ComponentPlan, type Fit, type PeakBytes } from './fit.ts';
import { formatOf } from '../model/weights.ts';
import type { PlannedGraph } from './shapes.ts';

/** A change that makes a model take less. */
export interface Advice {
  /**
   * - `swap`: nothing to change; stages take turns in the budget, and come back from the cache.
   * - `weights`: load with this format.
   * - `tiling`: decode the picture in tiles.
   * - `budget`: allow more memory.
   */
  kind: 'swap' | 'weights' | 'tiling' | 'budget';
  /** For `weights`: what to pass when loading. */
  weights?: WeightFormat;
  /** The most bytes that are then needed, with all stages there and with one at a time. */
  peakBytes: number;
  swappedPeakBytes: number;
  /** How the model fits then. */
  fit: Fit;
  message: string;
}

/** Latents along each axis of a tile: the size that decoders were trained on. */
const TILE = 64;

const order: readonly WeightFormat[] = ['f16', 'int8', 'int4'];

/** What to change where a model does not fit as a whole. Every number is that of a plan made for it. */
export async function advise(
  plan: PeakBytes & {
    requestBytes: number;
    memoryBudget: number | undefined;
    components: readonly ComponentPlan[];
    fit: Fit;
  },
  model: DiffusionModel,
  graphs: readonly PlannedGraph[],
): Promise<Advice[]> {
  if (plan.fit === 'resident') return [];
  const advice: Advice[] = [];
  const { memoryBudget: budget, components, requestBytes } = plan;
  const consider = (
    kind: Advice['kind'],
    changed: readonly Pick<ComponentPlan, 'footprint' | 'problem'>[],
    message: string,
    more: Pick<Advice, 'weights'> = {},
  ): void => {
    const { peakBytes, swappedPeakBytes } = bytesOf(changed, requestBytes);
    advice.push({
      kind,
      ...more,
      peakBytes,
      swappedPeakBytes,
      fit: fitOf({ peakBytes, swappedPeakBytes }, changed, budget),
      message,
    });
  };
  if (plan.fit === 'swapped') {
    consider(
      'swap',
      components,
      'Stages take turns in the budget: every picture loads them again, from the cache.',
    );
  }
  const tiled = await withTiles(graphs, components);
  if (tiled)
    consider('tiling', tiled, `Decode in tiles of ${TILE * model.facts.scaleFactor} pixels (option tiling).`);
  for (const weights of order) {
    const changed = await Promise.all(
      components.map(async (component, i) =>
        component.weights === 'as-stored'
          ? { ...component, ...(await footprintFor(graphs[i]!, formatOf(weights, component.component))) }
          : component,
      ),
    );
    const isSmaller =
      bytesOf(changed, requestBytes).peakBytes < 0.98 * plan.peakBytes ||
      changed.some(({ problem }, i) => problem !== components[i]!.problem);
    if (!isSmaller) continue;
    consider('weights', changed, `Load with weights: '${weights}'.`, { weights });
    if (!tiled) continue;
    const both = changed.map((component, i) =>
      component.component === 'vae_decoder' ? tiled[i]! : component,
    );
    consider('weights', both, `Load with weights: '${weights}' and decode in tiles.`, { weights });
  }
  if (budget !== undefined && components.every(({ problem }) => problem === undefined)) {
    advice.push({
      kind: 'budget',
      peakBytes: plan.peakBytes,
      swappedPeakBytes: plan.swappedPeakBytes,
      fit: 'resident',
      message: `Allow a memoryBudget of ${plan.peakBytes} bytes, or of ${plan.swappedPeakBytes} with stages that take turns.`,
    });
  }
  return advice;
}

/** The components with a decoder that makes one tile at a time; undefined where pictures are no larger than one. */
async function withTiles(
  graphs: readonly PlannedGraph[],
  components: readonly ComponentPlan[],
): Promise<ComponentPlan[] | undefined> {
  const index = graphs.findIndex(({ component }) => component === 'vae_decoder');
  const graph = graphs[index]!;
  const inputs = Object.fromEntries(
    Object.entries(graph.inputs).map(([name, shape]) => [
      name,
      (shape as readonly number[]).map((dim, axis) => (axis < 2 ? dim : Math.min(dim, TILE))),
    ]),
  );
  if (JSON.stringify(inputs) === JSON.stringify(graph.inputs)) return undefined;
  const footprint = await footprintFor({ ...graph, inputs });
  return components.map((component, i) => (i === index ? { ...component, ...footprint } : component));
}
