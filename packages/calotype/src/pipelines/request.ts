import { OptionError, SamplerError } from '../errors.ts';
import type { DiffusionModel } from '../model/model.ts';
import { loadSampler } from '../samplers/load.ts';
import type { SamplerOptions, SamplerPlan } from '../samplers/types.ts';
import type { OutputType } from '../stages/picture.ts';
import type { Guidance } from '../stages/denoise-job.ts';
import { previewDecoderOf } from './generation.ts';
import type { GenerateOptions } from './options.ts';
import type { Sizing } from './pipeline.ts';

/** A request's options, checked and completed. */
export interface ResolvedRequest {
  images: number;
  width: number;
  height: number;
  /** Latents [images, channels, height, width] */
  shape: number[];
  plan: SamplerPlan;
  guidance: Guidance | undefined;
  /** Scale that the model itself gets. */
  embeddedGuidance: number | undefined;
}

/**
 * Checks a request against a model and completes it; no GPU work is done.
 *
 * @param size of the picture, where the caller names none
 * @param sampling what the pipeline asks of the sampler beside the caller's options
 * @throws OptionError, SamplerError
 */
export async function resolveRequest(
  model: DiffusionModel,
  options: GenerateOptions<OutputType>,
  size: { width: number; height: number },
  sampling: SamplerOptions = {},
): Promise<ResolvedRequest> {
  if (options.prompt === undefined && !options.promptEmbeds) {
    throw new OptionError('prompt', 'is missing. Give one, or its embeddings (promptEmbeds).');
  }
  const images = options.numImages ?? (Array.isArray(options.seed) ? options.seed.length : 1);
  if (!Number.isInteger(images) || images < 1) {
    throw new OptionError('numImages', `expected a whole number from 1 on, got ${images}.`);
  }
  const width = checkedSize(model, 'width', options.width ?? size.width);
  const height = checkedSize(model, 'height', options.height ?? size.height);
  const { latentChannels, scaleFactor } = model.facts;
  const shape = [images, latentChannels, height / scaleFactor, width / scaleFactor];
  const choice = model.family.guidance(model, {
    ...options,
    guidanceScale: options.guidanceScale ?? model.facts.defaults.guidanceScale,
  });
  const [start, end] = options.guidanceInterval ?? [0, 1];
  if (!(start >= 0 && start <= end && end <= 1)) {
    throw new OptionError(
      'guidanceInterval',
      `expected two shares of the steps, 0 ≤ start ≤ end ≤ 1, got [${start}, ${end}].`,
    );
  }
  const rescale = share('guidanceRescale', options.guidanceRescale ?? 0);
  checkDecoding(model, options);
  return {
    images,
    width,
    height,
    shape,
    plan: await planOf(model, options, shape, sampling),
    guidance:
      choice.scale === undefined ? undefined : { scale: choice.scale, rescale, interval: [start, end] },
    embeddedGuidance: choice.embedded,
  };
}

/** Refuses previews and decoders that there are none of. */
function checkDecoding(model: DiffusionModel, { preview, decodeWith }: GenerateOptions<OutputType>): void {
  const { every = 1, by } = typeof preview === 'object' ? preview : {};
  if (!Number.isInteger(every) || every < 1) {
    throw new OptionError('preview', `expected a whole number of steps from 1 on (every), got ${every}.`);
  }
  if (by === 'previewDecoder' || decodeWith === 'previewDecoder') previewDecoderOf(model);
}

/** A number from 0 to 1. */
export function share(option: string, value: number): number {
  if (value >= 0 && value <= 1) return value;
  throw new OptionError(option, `expected a number from 0 to 1, got ${value}.`);
}

/** What is said of a mask that is not as large as its picture. */
export function maskSizeError(mask: Sizing, image: Sizing): OptionError {
  return new OptionError(
    'maskImage',
    `is of ${mask.width} × ${mask.height}, and the picture of ${image.width} × ${image.height}. Give a mask of the picture's size.`,
  );
}

/** Pixels that both sizes of a picture must be a multiple of. */
export function sizeMultiple({ facts, family }: DiffusionModel): number {
  const ownPatch = family.layout.sample === 'hidden_states' ? facts.denoiser['patch_size'] : undefined;
  const patch = Math.max(family.layout.patch, typeof ownPatch === 'number' ? ownPatch : 1);
  return facts.scaleFactor * patch;
}

function checkedSize(model: DiffusionModel, option: 'width' | 'height', pixels: number): number {
  const multiple = sizeMultiple(model);
  if (Number.isInteger(pixels) && pixels >= multiple && pixels % multiple === 0) return pixels;
  const nearest = Math.max(1, Math.round(pixels / multiple)) * multiple;
  throw new OptionError(option, `expected a multiple of ${multiple}, got ${pixels}. Use ${nearest}.`);
}

async function planOf(
  model: DiffusionModel,
  options: GenerateOptions<OutputType>,
  shape: readonly number[],
  sampling: SamplerOptions,
): Promise<SamplerPlan> {
  const { family, facts } = model;
  const sampler = await loadSampler(options.sampler ?? facts.scheduler, facts.scheduler);
  const own = await loadSampler(facts.scheduler);
  if (sampler.kind !== own.kind) {
    const remedy =
      own.kind === 'flow'
        ? "Use 'flow-euler' or 'flow-heun', or 'dpm++-2m' or 'unipc' with use_flow_sigmas and prediction_type 'flow_prediction'."
        : `Use ${own.name}, or another sampler for diffusion models.`;
    throw new SamplerError(
      sampler.name,
      'sampler',
      `is for ${sampler.kind} models, and this is a ${own.kind} model. ${remedy}`,
    );
  }
  const { numInferenceSteps, timesteps, sigmas, eta, originalInferenceSteps } = options;
  const isOwn = timesteps !== undefined || sigmas !== undefined;
  const steps = timesteps?.length ?? sigmas?.length ?? numInferenceSteps ?? facts.defaults.numInferenceSteps;
  const asked: SamplerOptions = {
    ...sampling,
    ...(isOwn && numInferenceSteps === undefined ? {} : { numInferenceSteps: numInferenceSteps ?? steps }),
    ...(timesteps && { timesteps }),
    ...(sigmas && { sigmas }),
    ...(eta === undefined ? {} : { eta }),
    ...(originalInferenceSteps === undefined ? {} : { originalInferenceSteps }),
  };
  return sampler.plan(family.schedule?.({ facts, sampler, shape, steps, options: asked }) ?? asked);
}
