import { UnsupportedOpError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { OWN_DOMAIN, type Graph } from '../graph/graph.ts';
import { optimise } from '../graph/passes/index.ts';
import { specialize, type SpecializeOptions } from '../graph/specialize.ts';
import type { GraphTemplate } from '../graph/template.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import type { Precision } from '../plan/capabilities.ts';
import { planGraph } from '../plan/plan-graph.ts';
import type { Plan } from '../plan/plan.ts';
import type { WeightFormat } from '../plan/weight-format.ts';
import type { PlanRequest } from './request.ts';

export interface PlanningOptions {
  engine: Engine;
  tuning: KernelTuning;
  precision: Precision;
  stableInputs: ReadonlySet<string>;
  weights: WeightFormat;
  /** Whether onnxruntime may run operators that have no kernel. */
  mayFallBack: boolean;
  signal: AbortSignal | undefined;
}

/** Types of what an operator gives that is not defined here. Few models have any: what asks is fetched then. */
const inferTypes: NonNullable<SpecializeOptions['foreign']> = async (node, outputs) =>
  (await import('../fallback/infer.ts')).inferWithOrt(node, outputs);

/**
 * From a model to its plan for one set of inputs.
 *
 * @throws ShapeError, UnsupportedOpError, OutOfMemoryError, source errors, the signal's reason
 * @throws NeedsInputValue where shapes depend on inputs whose elements are not in the request
 */
export async function planModel(
  template: GraphTemplate,
  { types, values, storages }: PlanRequest,
  { engine, tuning, precision, stableInputs, weights, mayFallBack, signal }: PlanningOptions,
): Promise<Plan> {
  const graph = (): Promise<Graph> =>
    specialize(template, types, values, {
      ...(signal && { signal }),
      ...(mayFallBack && { foreign: inferTypes }),
    });
  const options = {
    capabilities: engine.capabilities,
    precision,
    tuning,
    stableInputs,
    weights,
    inputStorage: storages,
    islands: mayFallBack,
  };
  try {
    return planGraph(optimise(await graph()), options);
  } catch (error) {
    const isFused =
      error instanceof UnsupportedOpError && error.ops.some(({ domain }) => domain === OWN_DOMAIN);
    if (!isFused || !mayFallBack) throw error;
    // What cannot run fused may run as the operators it was fused from, here or in an island.
    return planGraph(await graph(), options);
  }
}
