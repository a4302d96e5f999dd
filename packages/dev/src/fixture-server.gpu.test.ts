import { expect, test } from 'vitest';

test('an adapter is there: without one, no GPU test would mean anything', async () => {
  expect(await navigator.gpu?.requestAdapter()).toBeTruthy();
});

test('pages read fixtures by range, and a missing one is a 404', async () => {
  const part = await fetch('/fixtures/tiny-sd/model_index.json', { headers: { range: 'bytes=0-0' } });
  expect(part.status).toBe(206);
  expect(await part.text()).toBe('{');
  expect((await fetch('/fixtures/none.onnx')).status).toBe(404);
});
