import { expect, test } from 'vitest';
import { fakeEngine } from '../../test/fake-device.ts';

test('staging buffers are kept, and a word leaves the large one to the next picture', async () => {
  const { engine, device } = await fakeEngine();
  const picture = engine.buffers.acquire(2 ** 20, 'picture');
  const word = engine.buffers.acquire(16, 'word');
  device.queue.writeBuffer(word, 0, Uint8Array.of(1, 2, 3, 4));
  const read = (): Promise<[Uint8Array, Uint8Array]> =>
    Promise.all([engine.readBack.read(picture, 2 ** 20), engine.readBack.read(word, 4)]);
  await read();
  const { buffer } = device.made;
  // Whichever is asked for first.
  const [small, large] = [engine.readBack.read(word, 4), engine.readBack.read(picture, 2 ** 20)];
  expect(await small).toEqual(Uint8Array.of(1, 2, 3, 4));
  expect(await large).toHaveLength(2 ** 20);
  await read();
  expect(device.made.buffer).toBe(buffer);
  engine.dispose();
});
