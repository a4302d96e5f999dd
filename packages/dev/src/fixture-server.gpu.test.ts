import { expect, test } from 'vitest';
import { readSafetensors } from './safetensors.ts';

test('an adapter is there: without one, no GPU test would mean anything', async () => {
  expect(await navigator.gpu?.requestAdapter()).toBeTruthy();
});

test('pages read fixtures by range, and a missing one is a 404', async () => {
  const part = await fetch('/fixtures/tiny-sd/model_index.json', { headers: { range: 'bytes=0-0' } });
  expect(part.status).toBe(206);
  expect(await part.text()).toBe('{');
  expect((await fetch('/fixtures/none.onnx')).status).toBe(404);
});

test('pages read the ONNX node tests', async () => {
  const names = (await (await fetch('/fixtures/onnx-node/index.json')).json()) as string[];
  expect(names).toHaveLength(1507);
  const reference = await fetch(`/fixtures/onnx-node/${names[0]}/reference.safetensors`);
  expect(readSafetensors(new Uint8Array(await reference.arrayBuffer())).size).toBeGreaterThan(0);
});
