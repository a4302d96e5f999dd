import { TextToImagePipeline } from 'calotype';
import type { SafeTensor } from '../../safetensors.ts';
import type { FixtureOf, Precision, Verdict, VerifyOptions } from '../types.ts';
import { difference, type Difference } from './metrics.ts';
import { fetchTensors, fixtureUrl, toNumbers } from './reference.ts';

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
  const image = recorded.get('image');
  if (!image) throw new Error(`${reference} holds no image.`);
  const [images, height, width] = image.shape as [number, number, number];
  using pipeline = await TextToImagePipeline.fromPretrained(fixtureUrl(folder), {
    precision,
    warmUp: { width, height },
  });

  const problems: string[] = [];
  let latents: Difference | undefined;
  const result = await pipeline.generate({
    prompt: run.prompt,
    ...(typeof run.neg === 'string' && { negativePrompt: run.neg }),
    numInferenceSteps: run.steps,
    guidanceScale: run.cfg,
    width,
    height,
    numImages: images,
    latents: floats(recorded, 'latents_in'),
    noise: (draw) => floats(recorded, `noise.${draw}`),
    ...(run.scheduler && { sampler: run.scheduler }),
    output: 'imageData',
    async onStep({ step, timestep, latents: current }) {
      const wanted = run.timesteps[step];
      if (wanted === undefined || Math.abs(timestep - wanted) > 1e-3) {
        problems.push(`step ${step} is at timestep ${timestep}, diffusers at ${wanted}`);
      }
      latents = difference(await current.data(), floats(recorded, `latents.${step}`));
      if (!(latents.relL2 <= bar.latents) && !problems.some((line) => line.startsWith('latents'))) {
        problems.push(
          `latents differ from step ${step} on: ${latents.relL2.toExponential(2)}, at most ${bar.latents}`,
        );
      }
    },
  });
  if (!latents) throw new Error('No step was taken.');

  const pixels = difference(
    rgb(result.images),
    Float32Array.from(toNumbers(image), (value) => value * 255),
  );
  if (!(pixels.maxAbs <= bar.pixels)) {
    problems.push(`pixels differ by up to ${pixels.maxAbs.toFixed(1)}/255, at most ${bar.pixels}/255`);
  }
  return {
    status: problems.length ? 'failed' : 'passed',
    path: 'webgpu, pipeline',
    ...latents,
    detail: [...problems, `pixels within ${pixels.maxAbs.toFixed(2)}/255`].join('\n'),
  };
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
