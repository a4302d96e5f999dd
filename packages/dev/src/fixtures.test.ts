import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixturesDir } from './fixtures.ts';
import { unpackNodeTests } from './onnx-node.ts';
import { readSafetensors } from './safetensors.ts';

test('every one of the ONNX node tests is there', async () => {
  const tests = await unpackNodeTests(new Uint8Array(await readFile(join(fixturesDir, 'onnx-node.tar'))));
  expect(tests).toHaveLength(1507);
  expect(tests.map(({ name }) => name)).toContain('test_relu');
  for (const { name, model, reference } of tests) {
    expect(model.length, name).toBeGreaterThan(20);
    expect(readSafetensors(reference).size, name).toBeGreaterThan(0);
  }
});

test.each(['tiny-sd', 'tiny-sd-turbo'])('%s has a reference for every run it lists', async (name) => {
  const folder = join(fixturesDir, name, 'reference');
  const runs = JSON.parse(await readFile(join(folder, 'runs.json'), 'utf8')) as { id: string }[];
  expect(runs.length).toBeGreaterThan(1);
  for (const { id } of runs) {
    const tensors = readSafetensors(await readFile(join(folder, `${id}.safetensors`)));
    expect([...tensors.keys()]).toEqual(expect.arrayContaining(['image', 'latents.0']));
  }
});
