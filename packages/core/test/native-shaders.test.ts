import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { fixturesDir } from '@calotype/dev/fixtures';
import { afterAll, expect, test } from 'vitest';
import type { Graph } from '../src/graph/graph.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { WeightFormat } from '../src/plan/weight-format.ts';
import { describeBrowsers, KernelCheck } from './null-device.ts';
import { fullSizeGraph, graphOf } from './whole-graphs.ts';

// The kernels of whole models as real cards compile them: with f16, subgroups of 32 and subgroup matrices, which the
// software adapter lacks. What they compute is tested there, in f32 and on emulated matrices.

/** Weights as each model is planned with, and how its graphs are had. */
interface Model {
  weights: readonly WeightFormat[];
  graphs: () => Promise<Graph[]>;
}

/** Latents, of pictures of 512 or 1024 pixels. */
const fullSize = (file: string, latent = 64): Model => ({
  weights: ['as-stored', 'int8', 'int4'],
  graphs: async () => [await fullSizeGraph(file, latent)],
});

/** All components of a folder, with its dimensions where they are not free. */
const small = (folder: string, dims: Readonly<Record<string, number>> = {}): Model => ({
  weights: ['as-stored'],
  graphs: once(async () => {
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.onnx'));
    const sizes = { batch: 2, batch_size: 2, height: 16, width: 16, ...dims };
    return Promise.all(files.map((file) => graphOf(`${folder}/${file}`, sizes)));
  }),
});

/** Of the residuals that a ControlNet adds, at two levels. */
const residuals = Object.fromEntries(
  Object.entries({
    down_block_additional_residual_0: 16,
    down_block_additional_residual_1: 16,
    down_block_additional_residual_2: 8,
    down_block_additional_residual_3: 8,
    mid_block_additional_residual: 8,
  }).flatMap(([name, size]) => [
    [`${name}_height`, size],
    [`${name}_width`, size],
  ]),
);

const models: Readonly<Record<string, Model>> = {
  'SD 1.5': fullSize('sd15-unet-fp16'),
  'SD-Turbo': fullSize('sdturbo-unet-fp16'),
  SDXL: fullSize('sdxl-unet-fp16', 128),
  'the VAE decoder': fullSize('sd-vae-decoder-fp16'),
  'CLIP-L': fullSize('clip-l-text-encoder-fp16'),
  Pocket: small(fileURLToPath(new URL('../../pocket/model', import.meta.url))),
  ...Object.fromEntries(
    ['sd', 'sd-turbo', 'sd-turbo-dynamo', 'xl', 'sd3', 'flux', 'flux2', 'inpaint', 'consistency'].map(
      (name) => [`tiny-${name}`, small(`${fixturesDir}/tiny-${name}`)],
    ),
  ),
  'tiny-control': small(`${fixturesDir}/tiny-control`, residuals),
};

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

await describeBrowsers((browser, name) => {
  const check = new KernelCheck(browser.capabilities);

  afterAll(() => console.info(`${name}: ${check.size} kernels`));

  test.each(Object.entries(models))('takes all kernels of %s', { timeout: 120_000 }, async (_, model) => {
    for (const graph of await model.graphs()) {
      for (const weights of model.weights) {
        const plan = planGraph(graph, { ...browser, weights });
        expect(await check.plan(plan)).toEqual([]);
      }
    }
  });
});
