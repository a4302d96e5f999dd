import { Tensor } from '@calotype/core';
import {
  ImageToImagePipeline,
  InpaintPipeline,
  TextToImagePipeline,
  type GenerateOptions,
  type GenerateResult,
} from 'calotype';
import type { SafeTensor } from '../../safetensors.ts';
import type { FixtureOf, Precision, Run, Verdict, VerifyOptions } from '../types.ts';
import { difference, type Difference } from './metrics.ts';
import { fetchTensors, toNumbers } from './reference.ts';
import { hashedFolder } from './weights.ts';

/** Relative L2 distance that the latents may have, and pixels in 255ths. */
const bars: Record<Precision, { latents: number; pixels: number }> = {
  f32: { latents: 1e-3, pixels: 2 },
  f16: { latents: 5e-2, pixels: 16 },
  'packed-f16': { latents: 5e-2, pixels: 16 },
};

/** A whole run, prompt to pixels, from the recorded noise. Figures are those of the final latents. */
export async function verifyPipeline(
  { folder, reference, run }: FixtureOf<'pipeline'>,
  { precision }: VerifyOptions,
): Promise<Verdict> {
  const recorded = await fetchTensors(reference);
  const bar = bars[precision];
  const problems: string[] = [];
  let latents: Difference | undefined;
  const options: GenerateOptions<'imageData'> = {
    ...optionsOf(run, recorded),
    ...(recorded.has('latents_in') && { latents: floats(recorded, 'latents_in') }),
    noise: (draw) => floats(recorded, `noise.${draw}`),
    ...(recorded.has('control_image') && { controlImage: picture(recorded, 'control_image') }),
    output: 'imageData',
    async onStep({ step, timestep, latents: current }) {
      const wanted = run.timesteps?.[step];
      if (run.timesteps && (wanted === undefined || Math.abs(timestep - wanted) > 1e-3)) {
        problems.push(`step ${step} is at timestep ${timestep}, diffusers at ${wanted}`);
      }
      latents = difference(await current.data(), floats(recorded, `latents.${step}`));
      if (!(latents.relL2 <= bar.latents) && !problems.some((line) => line.startsWith('latents'))) {
        problems.push(
          `latents differ from step ${step} on: ${latents.relL2.toExponential(2)}, at most ${bar.latents}`,
        );
      }
    },
  };
  const result = await generate(folder, precision, recorded, options);
  if (!latents) throw new Error('No step was taken.');

  const details = [...problems];
  const image = recorded.get('image');
  if (image) {
    const wanted = Float32Array.from(toNumbers(image), (value) => value * 255);
    const pixels = difference(rgb(result.images), wanted);
    details.push(`pixels within ${pixels.maxAbs.toFixed(2)}/255`);
    if (!(pixels.maxAbs <= bar.pixels)) problems.push(`at most ${bar.pixels}/255`);
  }
  return {
    status: problems.length ? 'failed' : 'passed',
    path: 'webgpu, pipeline',
    ...latents,
    detail: [...new Set([...details, ...problems])].join('\n'),
  };
}

/** A run's fields that are not options of the library under another notation. */
const described = new Set([
  'id',
  'pipeline',
  'options',
  'timesteps',
  'noise_draws',
  'image_range',
  'latent_std',
]);

/** What the library is asked for. */
function optionsOf(run: Run, recorded: ReadonlyMap<string, SafeTensor>): GenerateOptions<'imageData'> {
  const { prompt, neg, steps, cfg, batch, h, w, scheduler, ...rest } = run;
  const [images, height, width] = recorded.get('image')?.shape ?? [batch, h, w];
  const others = Object.entries(rest).flatMap(([name, value]) =>
    described.has(name) || value === null ? [] : [[camelCase(name), value] as const],
  );
  return {
    // diffusers takes brackets as text and cuts long prompts.
    emphasis: false,
    maxPromptChunks: 1,
    ...(prompt !== undefined && { prompt }),
    ...(typeof neg === 'string' && { negativePrompt: neg }),
    ...(steps !== undefined && { numInferenceSteps: steps }),
    ...(cfg !== undefined && { guidanceScale: cfg }),
    ...(width && height && { width, height }),
    ...(images !== undefined && { numImages: images }),
    ...(scheduler && { sampler: scheduler }),
    ...Object.fromEntries(others),
    ...run.options,
  };
}

function camelCase(name: string): string {
  return name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** Runs the pipeline that the recorded tensors are of: those of a picture, of a mask too, or neither. */
async function generate(
  folder: string,
  precision: Precision,
  recorded: ReadonlyMap<string, SafeTensor>,
  options: GenerateOptions<'imageData'>,
): Promise<GenerateResult<'imageData'>> {
  const load = { precision, warmUp: false } as const;
  const source = await hashedFolder(folder);
  if (!recorded.has('init_image')) {
    using pipeline = await TextToImagePipeline.fromPretrained(source, load);
    return await pipeline.generate(options);
  }
  const image = picture(recorded, 'init_image');
  if (!recorded.has('mask_image')) {
    using pipeline = await ImageToImagePipeline.fromPretrained(source, load);
    return await pipeline.generate({ ...options, image });
  }
  using pipeline = await InpaintPipeline.fromPretrained(source, load);
  return await pipeline.generate({ ...options, image, maskImage: picture(recorded, 'mask_image') });
}

function picture(tensors: ReadonlyMap<string, SafeTensor>, name: string): Tensor<'float32'> {
  return new Tensor('float32', tensors.get(name)!.shape, floats(tensors, name));
}

function floats(tensors: ReadonlyMap<string, SafeTensor>, name: string): Float32Array<ArrayBuffer> {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`The reference holds no '${name}'.`);
  return Float32Array.from(toNumbers(tensor));
}

/** All pictures' bytes without alpha, one after the other. */
function rgb(images: ImageData[]): Uint8Array {
  const total = images.reduce((sum, { data }) => sum + (data.length / 4) * 3, 0);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const { data } of images) {
    for (let i = 0; i < data.length; i++) if (i % 4 !== 3) bytes[at++] = data[i]!;
  }
  return bytes;
}
