import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fixturesDir } from './fixtures.ts';
import { readSafetensors } from './safetensors.ts';

test('every one of the ONNX node tests is there', async () => {
  const folder = join(fixturesDir, 'onnx-node');
  const names = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as string[];
  expect(names).toHaveLength(1507);
  const longest = names.reduce((a, b) => (b.length > a.length ? b : a));
  for (const name of ['test_relu', longest]) {
    expect((await readFile(join(folder, name, 'model.onnx'))).length).toBeGreaterThan(20);
    expect(readSafetensors(await readFile(join(folder, name, 'reference.safetensors'))).size).toBeGreaterThan(
      0,
    );
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
