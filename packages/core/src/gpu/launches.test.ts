import { expect, test, vi } from 'vitest';
import { fakeEngine } from '../../test/fake-device.ts';
import { addAndMultiply } from '../../test/tiny-models.ts';
import { model } from '../../test/onnx-writer.ts';
import { createSession, Tensor } from '../index.ts';
import { CustomKernel } from './custom-kernel.ts';

const spec = {
  name: 'scale',
  body: 'fn main() {}',
  inputs: { x: 'f32' },
  outputs: { y: 'f32' },
  params: { elements: 'u32', scale: 'f32' },
} as const;

test('kernels launched together go in one command buffer, with one upload of their parameters', async () => {
  const { engine, device } = await fakeEngine();
  const kernel = await CustomKernel.create(engine, spec);
  const buffers = Array.from({ length: 9 }, (_, i) => engine.buffers.acquire(16, `${i}`));
  const upload = vi.spyOn(device.queue, 'writeBuffer');
  const round = (): void =>
    engine.launches.together(() => {
      for (let i = 0; i < 8; i++) {
        kernel.run({ x: buffers[i]!, y: buffers[i + 1]! }, { elements: i + 1, scale: i / 2 }, 1);
      }
    });
  const before = { ...device.made };
  round();
  expect(device.made.submit - before.submit).toBe(1);
  expect(upload).toHaveBeenCalledTimes(1);
  const data = upload.mock.calls[0]![2] as Uint8Array;
  expect(data.byteLength).toBe(8 * 256);
  const params = new DataView(data.buffer);
  for (let i = 0; i < 8; i++) {
    expect([params.getUint32(i * 256, true), params.getFloat32(i * 256 + 4, true)]).toEqual([i + 1, i / 2]);
  }
  expect(device.made.bindGroup - before.bindGroup).toBe(8);
  // Again: nothing is made.
  const { buffer, bindGroup } = device.made;
  round();
  expect(device.made).toMatchObject({ buffer, bindGroup });
  // Alone, and where what launches them fails half way, what was launched goes all the same.
  kernel.run({ x: buffers[0]!, y: buffers[1]! }, { elements: 1, scale: 1 }, 1);
  const failing = (): void =>
    engine.launches.together(() => {
      kernel.run({ x: buffers[0]!, y: buffers[1]! }, { elements: 1, scale: 1 }, 1);
      throw new Error('half way');
    });
  expect(failing).toThrow('half way');
  expect(device.made.submit - before.submit).toBe(4);
  engine.dispose();
});

test('what is launched before and after a run goes in its command buffer, with one upload of parameters', async () => {
  const { engine, device } = await fakeEngine();
  using session = await createSession(model(addAndMultiply), { engine });
  const kernel = await CustomKernel.create(engine, spec);
  const [a, b] = [engine.buffers.acquire(16, 'a'), engine.buffers.acquire(16, 'b')];
  const x = new Tensor('float32', [1, 3], { engine, buffer: b, storage: 'f32' });
  const launch = (scale: number) => kernel.run({ x: a, y: b }, { elements: 3, scale }, 1);
  const run = async () => {
    const { y } = await session.run({ x }, { before: () => launch(1), after: () => launch(2) });
    y!.dispose();
  };
  await run();
  const upload = vi.spyOn(device.queue, 'writeBuffer');
  const { submit } = device.made;
  await run();
  expect(device.made.submit - submit).toBe(1);
  expect(upload).toHaveBeenCalledTimes(1);
  const params = new DataView((upload.mock.calls[0]![2] as Uint8Array).buffer);
  expect([params.getFloat32(4, true), params.getFloat32(256 + 4, true)]).toEqual([1, 2]);
  // What fails half way goes neither with this run nor with the next launch.
  const failing = session.run(
    { x },
    {
      before: () => {
        launch(3);
        throw new Error('half way');
      },
    },
  );
  await expect(failing).rejects.toThrow('half way');
  engine.launches.together(() => {});
  expect(device.made.submit - submit).toBe(1);
  engine.dispose();
});
