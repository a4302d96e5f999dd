import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapStore, readModel } from '@calotype/core';
import { fixturesDir } from '@calotype/dev/fixtures';
import { expect, test } from 'vitest';
import { withSkippedLayers } from './clip-layers.ts';

// The number of layers is that of the configs.
test.each([
  ['tiny-sd/text_encoder/model.onnx', 3],
  ['tiny-sd-turbo/text_encoder/model.onnx', 2],
  ['tiny-sd-turbo-dynamo/text_encoder/model.onnx', 2],
  ['full-size/clip-l-text-encoder-fp16.onnx', 12],
])('%s has outputs for all layers but the last', async (path, layers) => {
  const bytes = new Uint8Array(readFileSync(join(fixturesDir, path)));
  const options = { allowMissingExternalData: true };
  const model = await readModel(mapStore({ 'model.onnx': bytes }), 'model.onnx', options);
  const added = withSkippedLayers(model).graph.outputs.slice(model.graph.outputs.length);
  expect(added.map(({ name }) => name)).toEqual(
    Array.from({ length: layers - 1 }, (_, i) => `clip_skip.${i + 1}`),
  );
});
