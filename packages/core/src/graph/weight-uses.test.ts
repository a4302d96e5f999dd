import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixturesDir } from '@calotype/dev/fixtures';
import { expect, test } from 'vitest';
import { readModel } from '../onnx/reader.ts';
import { mapStore } from '../source/map-store.ts';
import { buildTemplate } from './build.ts';
import { weightUses, type WeightUses } from './weight-uses.ts';

async function usesIn(folder: string): Promise<WeightUses[]> {
  const bytes = new Uint8Array(readFileSync(join(fixturesDir, folder, 'model.onnx')));
  const model = await readModel(mapStore({ 'model.onnx': bytes }), 'model.onnx');
  return [...weightUses(await buildTemplate(model, folder)).values()];
}

test.each(['unet', 'text_encoder'])('both exporters tell the same modules of the %s', async (component) => {
  const [old, dynamo] = await Promise.all(
    ['tiny-sd-turbo', 'tiny-sd-turbo-dynamo'].map((folder) => usesIn(`${folder}/${component}`)),
  );
  const describe = (uses: readonly WeightUses[]): string[] =>
    uses.map(({ modules, outFeatures, inFeatures, kernel }) => {
      return `${modules.join('|')} ${outFeatures}×${[inFeatures, ...kernel].join('×')}`;
    });
  expect(describe(dynamo!).toSorted()).toEqual(describe(old!).toSorted());
  const modules = old!.flatMap((use) => use.modules);
  expect(modules).toHaveLength(old!.length);
  expect(new Set(modules).size).toBe(old!.length);
});

test('finds products whose weights have no names of their own', async () => {
  const uses = await usesIn('tiny-sd/unet');
  const query = uses.find(({ modules }) => modules[0]?.endsWith('down_blocks.0.attentions.0.proj_in'));
  expect(query).toMatchObject({ name: 'u.down_blocks.0.attentions.0.proj_in.weight', kernel: [1, 1] });
  expect(
    uses.find(({ modules }) => modules[0] === 'u.mid_block.attentions.0.transformer_blocks.0.attn2.to_k'),
  ).toMatchObject({ name: 'onnx::MatMul_1670', inFeatures: 32, outFeatures: 64, strides: [1, 64, 1] });
});
