import type { LoadOptions } from '../pipelines/options.ts';
import { DiffusionModel } from '../model/model.ts';
import type { ModelSource } from '../model/folder.ts';
import { planPipelineOf, type PipelinePlan, type PipelinePlanOptions } from './plan.ts';

/**
 * What a model takes, before it is downloaded: reads configs and the structure of its graphs. See `pipeline.plan`.
 *
 * @example
 * const plan = await planPipeline(url, { width: 1024, height: 1024, memoryBudget: 2e9 });
 * console.log(String(plan));
 *
 * @throws what loading a model throws, OptionError for sizes that the model cannot make
 */
export async function planPipeline(
  source: ModelSource,
  options: PipelinePlanOptions & Omit<LoadOptions, 'warmUp'> = {},
): Promise<PipelinePlan> {
  const fetching = { sparse: true, ...options.fetching };
  const model = await DiffusionModel.load(source, { ...options, fetching, warmUp: false });
  try {
    return await planPipelineOf(model, options);
  } finally {
    model.dispose();
  }
}

export type { Advice } from './advice.ts';
export type { ComponentPlan, Fit, PeakBytes } from './fit.ts';
export type { PipelinePlan, PipelinePlanOptions } from './plan.ts';
