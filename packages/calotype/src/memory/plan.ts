import type { DiffusionModel } from '../model/model.ts';
import type { GenerateOptions } from '../pipelines/options.ts';
import { resolveRequest } from '../pipelines/request.ts';
import { PICTURES_AT_ONCE } from '../stages/decode-latents.ts';
import { advise, type Advice } from './advice.ts';
import { bytesOf, fitOf, footprintFor, type ComponentPlan, type Fit, type PeakBytes } from './fit.ts';
import { printPipelinePlan } from './print.ts';
import { plannedGraphs, type PlannedGraph } from './shapes.ts';

/** What pictures a plan is for. */
export interface PipelinePlanOptions extends Pick<
  GenerateOptions,
  'width' | 'height' | 'guidanceScale' | 'maxSequenceLength'
> {
  /** Pictures at once. 1 by default. */
  batch?: number;
  /** Whether a picture is encoded first, as image-to-image and inpainting do. False by default. */
  startsFromImage?: boolean;
  /** Bytes of GPU memory to keep to. The engine's own budget by default. */
  memoryBudget?: number;
}

export interface PipelinePlan extends PeakBytes {
  width: number;
  height: number;
  batch: number;
  /** In the order in which a pipeline uses them. */
  components: ComponentPlan[];
  /** Bytes that have to be fetched. */
  fetchBytes: number;
  /** Bytes of a request beside the graphs: latents, what encoders say, pixels and the copy that leaves the GPU. */
  requestBytes: number;
  memoryBudget: number | undefined;
  /** The device's: no tensor may be larger than either. */
  limits: { maxBufferSize: number; maxStorageBufferBindingSize: number };
  fit: Fit;
  /** What to change, the mildest first. Empty where all stages fit beside each other. */
  advice: Advice[];
  /** The plan in words. */
  toString(): string;
}

/**
 * What a model takes on its engine. Reads only what opening the model has read: no weights.
 *
 * @throws OptionError for sizes that the model cannot make
 */
export async function planPipelineOf(
  model: DiffusionModel,
  options: PipelinePlanOptions = {},
): Promise<PipelinePlan> {
  const { batch = 1, memoryBudget, startsFromImage = false, ...size } = options;
  const { defaultSize } = model.facts;
  const request = await resolveRequest(
    model,
    { prompt: '', ...size, numImages: batch },
    { width: defaultSize, height: defaultSize },
  );
  const { width, height } = request;
  const rows = batch * (request.guidance ? 2 : 1);
  const graphs = await plannedGraphs(model, { startsFromImage, rows, width, height, options: size });
  const components = await Promise.all(graphs.map((graph) => planComponent(model, graph)));
  const { buffers, capabilities } = model.engine;
  const budget = memoryBudget ?? (Number.isFinite(buffers.limitBytes) ? buffers.limitBytes : undefined);
  const { maxBufferSize, maxStorageBufferBindingSize } = capabilities.limits;
  const requestBytes = bytesOfRequest(model, components, { width, height, batch });
  const bytes = bytesOf(components, requestBytes);
  const plan: PipelinePlan = {
    width,
    height,
    batch,
    components,
    fetchBytes: components.reduce((sum, part) => sum + part.fileBytes - part.cachedBytes, 0),
    requestBytes,
    ...bytes,
    memoryBudget: budget,
    limits: { maxBufferSize, maxStorageBufferBindingSize },
    fit: fitOf(bytes, components, budget),
    advice: [],
    toString: () => printPipelinePlan(plan),
  };
  plan.advice = await advise(plan, model, graphs);
  return plan;
}

function bytesOfRequest(
  model: DiffusionModel,
  components: readonly ComponentPlan[],
  { width, height, batch }: { width: number; height: number; batch: number },
): number {
  const { latentChannels, scaleFactor } = model.facts;
  const latents = batch * latentChannels * (width / scaleFactor) * (height / scaleFactor);
  const said = components.filter(({ component }) => model.encoders.has(component));
  const saidBytes = said.reduce((sum, { footprint }) => sum + (footprint?.outputBytes ?? 0), 0);
  // Of latents, what a step reads and what it writes; of pixels, one picture and its copy, while the next is decoded.
  const pictures = Math.min(batch, PICTURES_AT_ONCE);
  const decoder = components.find(({ component }) => component === 'vae_decoder')?.footprint;
  const planes = (pictures - 1) * (decoder?.outputBytes ?? 0);
  return saidBytes + planes + 4 * (2 * latents + 2 * pictures * width * height);
}

async function planComponent(model: DiffusionModel, graph: PlannedGraph): Promise<ComponentPlan> {
  const { component, session } = graph;
  const files = await session.files();
  return {
    component,
    weights: model.weightsOf(component),
    fileBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    cachedBytes: model.cachedBytes(files.map(({ name }) => name)),
    ...(await footprintFor(graph)),
  };
}
