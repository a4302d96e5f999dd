import { Tensor, type Engine } from '@calotype/core';

/** Bytes of a buffer for elements of four bytes; buffers end on a multiple of 16. */
export function paddedBytes(elements: number): number {
  return Math.max(16, Math.ceil((elements * 4) / 16) * 16);
}

/** Elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** A tensor of float32 elements on the GPU, contents undefined. */
export function emptyTensor(engine: Engine, shape: readonly number[], label: string): Tensor<'float32'> {
  const buffer = engine.buffers.acquire(paddedBytes(sizeOf(shape)), label);
  return new Tensor('float32', shape, { engine, buffer, storage: 'f32' });
}

/** A tensor on the GPU of these float32 elements. */
export function uploadTensor(
  engine: Engine,
  shape: readonly number[],
  values: Float32Array<ArrayBuffer>,
  label: string,
): Tensor<'float32'> {
  const tensor = emptyTensor(engine, shape, label);
  engine.write(tensor.gpu!.buffer, 0, values);
  return tensor;
}

/** The buffer of a tensor that is known to lie on the GPU. */
export function bufferOf(tensor: Tensor): GPUBuffer {
  const { gpu } = tensor;
  if (!gpu) throw new Error('Internal error: a tensor of a stage is not on the GPU');
  return gpu.buffer;
}

/** Some rows of a tensor: its elements along the first axis. */
export interface RowRange {
  tensor: Tensor;
  first: number;
  count: number;
}

/** Copies rows of tensors of one storage, end to end, into a new tensor. `shape` begins with the number of all rows. */
export function gatherRows(
  engine: Engine,
  ranges: readonly RowRange[],
  shape: readonly number[],
  label: string,
): Tensor {
  const { dtype, gpu } = ranges[0]!.tensor;
  const { storage } = gpu!;
  const rowBytes = sizeOf(shape.slice(1)) * (storage === 'f16' ? 2 : 4);
  const bytes = Math.ceil((rowBytes * shape[0]!) / 16) * 16;
  const buffer = engine.buffers.acquire(bytes, label);
  const encoder = engine.device.createCommandEncoder({ label });
  let at = 0;
  for (const { tensor, first, count } of ranges) {
    encoder.copyBufferToBuffer(bufferOf(tensor), first * rowBytes, buffer, at, count * rowBytes);
    at += count * rowBytes;
  }
  engine.device.queue.submit([encoder.finish()]);
  return new Tensor(dtype, shape, { engine, buffer, storage });
}
