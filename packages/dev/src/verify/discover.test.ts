import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { discover } from './discover.ts';

let root: string | undefined;

afterEach(async () => {
  if (root) await rm(root, { recursive: true });
});

/** What `discover` finds in a folder of these files. */
async function found(files: Record<string, string>): Promise<string[]> {
  root = await mkdtemp(join(tmpdir(), 'discover-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const fixtures = await discover(root);
  return fixtures.map(({ kind, name, ...rest }) =>
    [kind, name, 'reference' in rest ? rest.reference : '', 'weights' in rest ? rest.weights : '']
      .filter(Boolean)
      .join(' '),
  );
}

const runs = JSON.stringify([{ id: 'a' }, { id: 'b' }]);
const stableDiffusion = JSON.stringify({ _class_name: 'StableDiffusionPipeline' });

test('graphs: beside their reference, in a folder with it, or to be compared', async () => {
  expect(
    await found({
      'one/model.onnx': '',
      'one/reference.safetensors': '',
      'full/unet-fp16.onnx': '',
      'full/unet-fp16.weights.json': '',
      'full/unet.reference.safetensors': '',
      'full/xl-fp16.onnx': '',
      'full/xl-fp16.weights.json': '',
      'other/free.onnx': '',
    }),
  ).toEqual([
    'graph full/unet-fp16 full/unet.reference.safetensors full/unet-fp16.weights.json',
    'unsupported full/xl-fp16',
    'graph one one/reference.safetensors',
    'compare other/free',
  ]);
});

test('pipelines: one fixture a run, and another export by the original’s', async () => {
  const parts = { 'unet/model.onnx': '', 'text_encoder/model.onnx': '' };
  const inFolder = (folder: string, files: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(files).map(([path, text]) => [`${folder}/${path}`, text]));
  expect(
    await found({
      ...inFolder('sd', { ...parts, 'model_index.json': stableDiffusion, 'reference/runs.json': runs }),
      'sd/reference/a.safetensors': '',
      'sd/reference/b.safetensors': '',
      'sd/reference/img2img-ddim-8-strength-0.6.safetensors': '',
      ...inFolder('sd-dynamo', { ...parts, 'model_index.json': stableDiffusion }),
      ...inFolder('sd-int8', parts),
    }),
  ).toEqual([
    'pipeline sd-dynamo/a sd/reference/a.safetensors',
    'pipeline sd-dynamo/b sd/reference/b.safetensors',
    'compare sd-dynamo/text_encoder',
    'compare sd-dynamo/unet',
    'compare sd-int8/text_encoder',
    'compare sd-int8/unet',
    'pipeline sd/a sd/reference/a.safetensors',
    'pipeline sd/b sd/reference/b.safetensors',
    'pipeline sd/img2img-ddim-8-strength-0.6 sd/reference/img2img-ddim-8-strength-0.6.safetensors',
  ]);
});

test('samplers, tokenizers and what is run elsewhere', async () => {
  expect(
    await found({
      'scheduler-parity.json': '{}',
      'onnx-node.tar.zst': '',
      'clip/expected.json': '[]',
      'clip/vocab.json': '{}',
      '.hidden/model.onnx': '',
      'readme/expected.json': '[]',
    }),
  ).toEqual(['tokenizer clip', 'unsupported onnx-node.tar.zst', 'samplers scheduler-parity']);
});
