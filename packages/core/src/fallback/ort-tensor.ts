import { ShapeError } from '../errors.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor, type NumericType, type TypedArray } from '../tensor/tensor.ts';
import type { Ort } from './runtime.ts';

/** A CPU tensor as onnxruntime takes it. Shares the memory. */
export function toOrt(ort: typeof Ort, dtype: NumericType, shape: Shape, data: TypedArray): Ort.Tensor {
  if (dtype === 'bfloat16') {
    throw new ShapeError('a tensor for onnxruntime', {
      expected: 'a dtype other than bfloat16',
      actual: dtype,
    });
  }
  return new ort.Tensor(dtype, data as Float32Array, [...shape]);
}

/** A result of onnxruntime's on the CPU. */
export async function fromOrt(tensor: Ort.Tensor): Promise<Tensor> {
  const data = await tensor.getData();
  if (tensor.type === 'string' || Array.isArray(data)) {
    throw new ShapeError('a result of onnxruntime', { expected: 'numbers', actual: 'strings' });
  }
  // Where there is a Float16Array, halves come as one; everywhere else here they are their bits.
  const bits =
    tensor.type === 'float16'
      ? new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length)
      : data;
  return new Tensor(tensor.type, tensor.dims, bits);
}
