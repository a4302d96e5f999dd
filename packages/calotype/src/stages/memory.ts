import { Tensor, type Engine, type Storage } from '@calotype/core';

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

/** Memory for rows of tensors of one storage, contents undefined. `shape` begins with the number of all rows. */
export function emptyRows(
  engine: Engine,
  ranges: readonly RowRange[],
  shape: readonly number[],
  label: string,
): Tensor {
  const { dtype, gpu } = ranges[0]!.tensor;
  const { storage } = gpu!;
  const bytes = Math.ceil((rowBytes(shape, storage) * shape[0]!) / 16) * 16;
  return new Tensor(dtype, shape, { engine, buffer: engine.buffers.acquire(bytes, label), storage });
}

/** Copies rows of tensors, end to end, into one of the same storage; inside `launches.together` with the others there. */
export function copyRows(engine: Engine, ranges: readonly RowRange[], into: Tensor): void {
  const row = rowBytes(into.shape, into.gpu!.storage);
  engine.launches.together(() => {
    let at = 0;
    for (const { tensor, first, count } of ranges) {
      engine.launches.copy(bufferOf(tensor), first * row, bufferOf(into), at, count * row);
      at += count * row;
    }
  });
}

/** Copies rows of tensors of one storage, end to end, into a new tensor. `shape` begins with the number of all rows. */
export function gatherRows(
  engine: Engine,
  ranges: readonly RowRange[],
  shape: readonly number[],
  label: string,
): Tensor {
  const rows = emptyRows(engine, ranges, shape, label);
  copyRows(engine, ranges, rows);
  return rows;
}

function rowBytes(shape: readonly number[], storage: Storage): number {
  return sizeOf(shape.slice(1)) * (storage === 'f16' ? 2 : 4);
}
