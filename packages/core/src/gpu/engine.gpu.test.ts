import { expect, test } from 'vitest';
import { DisposedError, UnsupportedDeviceError } from '../errors.ts';
import { Engine } from './engine.ts';

test('a mistake that WebGPU reports later is thrown by the next call', async () => {
  using engine = await Engine.create({ precision: 'f32' });
  const { device, buffers } = engine;
  const small = buffers.acquire(16, 'small');
  // Writing behind the end is refused on the device's side.
  device.queue.submit([device.createCommandEncoder().finish()]);
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(small, 0, small, 8, 16);
  device.queue.submit([encoder.finish()]);
  await expect(engine.readBack.read(small, 16)).rejects.toThrow('Internal error: WebGPU refused a call');
  // Once told, the engine goes on.
  await expect(engine.readBack.read(small, 16)).resolves.toHaveLength(16);
});

test("a device of the caller's stays the caller's", async () => {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  const engine = await Engine.create({ device });
  expect(engine.precision).toBe('packed-f16');
  engine.dispose();
  expect(() => engine.check()).toThrow(DisposedError);
  const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  await expect(buffer.mapAsync(GPUMapMode.READ)).resolves.toBeUndefined();
  device.destroy();
});

test('disposing an engine rejects what waits for it', async () => {
  const engine = await Engine.create({ precision: 'f32' });
  const waiting = engine.until(new Promise<void>(() => {}));
  engine.dispose();
  await expect(waiting).rejects.toThrow(DisposedError);
});

test('f16 is refused where the adapter has no shader-f16', async () => {
  const adapter = await navigator.gpu.requestAdapter();
  const creating = Engine.create({ precision: 'f16' });
  if (adapter!.features.has('shader-f16')) {
    (await creating).dispose();
  } else {
    await expect(creating).rejects.toThrow(UnsupportedDeviceError);
    await expect(creating).rejects.toThrow("'packed-f16'");
  }
});
