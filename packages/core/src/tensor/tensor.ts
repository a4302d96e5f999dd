import { DisposedError, ShapeError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../plan/plan.ts';
import { bytesOf, type DataType } from './dtype.ts';
import { fromFloat16Array, toFloat16 } from './float16.ts';
import { formatShape, sizeOf, type Shape } from './shape.ts';

/** Array types by dtype. float16 and bfloat16 are their bits; 4-bit types two to a byte. */
export interface TypedArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int16: Int16Array;
  int8: Int8Array;
  int4: Uint8Array;
  uint64: BigUint64Array;
  uint32: Uint32Array;
  uint16: Uint16Array;
  uint8: Uint8Array;
  uint4: Uint8Array;
  bool: Uint8Array;
}

export type NumericType = keyof TypedArrays;
export type TypedArray = TypedArrays[NumericType];

const constructors: { [T in NumericType]: new (buffer: ArrayBuffer) => TypedArrays[T] } = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bfloat16: Uint16Array,
  int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array, int4: Uint8Array,
  uint64: BigUint64Array, uint32: Uint32Array, uint16: Uint16Array, uint8: Uint8Array, uint4: Uint8Array,
  bool: Uint8Array,
}; // prettier-ignore

/** Where a tensor on the GPU lies: dense and row-major from the start of `buffer`. */
export interface GpuData {
  engine: Engine;
  buffer: GPUBuffer;
  storage: Storage;
}

/**
 * What goes into and comes out of `session.run`. Lies on the CPU, or on the GPU until `data()` copies it back.
 * A GPU tensor owns its memory: `dispose()` (or `using`) gives it back to the engine.
 */
export class Tensor<T extends NumericType = NumericType> {
  readonly dtype: T;
  readonly shape: Shape;
  #cpu: TypedArrays[T] | undefined;
  #gpu: GpuData | undefined;

  /**
   * A tensor on the CPU. `data` is used, not copied, and must not change while a run reads it.
   *
   * @throws ShapeError when the number of elements does not match `shape`
   */
  constructor(dtype: T, shape: Shape, data: TypedArrays[T] | GpuData) {
    this.dtype = dtype;
    this.shape = [...shape];
    if ('engine' in data) {
      this.#gpu = data;
      return;
    }
    const expected = bytesOf(dtype, sizeOf(shape));
    if (shape.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || data.byteLength !== expected) {
      throw new ShapeError(`Tensor(${dtype}, ${formatShape(shape)})`, {
        expected: `${expected} bytes of data`,
        actual: `${data.byteLength}`,
      });
    }
    this.#cpu = data;
  }

  get location(): 'cpu' | 'gpu' {
    return this.#gpu ? 'gpu' : 'cpu';
  }

  /** Where it lies on the GPU; `undefined` for a tensor on the CPU. */
  get gpu(): GpuData | undefined {
    return this.#gpu;
  }

  /** The CPU array; `undefined` for a tensor on the GPU. */
  get cpu(): TypedArrays[T] | undefined {
    return this.#cpu;
  }

  /**
   * The elements, row-major, in the array type of `dtype`. Copies back from the GPU where the tensor lies there.
   *
   * @throws DisposedError, DeviceLostError
   */
  async data(): Promise<TypedArrays[T]> {
    if (this.#cpu) return this.#cpu;
    const gpu = this.#gpu;
    if (!gpu) throw new DisposedError('A tensor');
    gpu.engine.check();
    const elements = sizeOf(this.shape);
    const bits = gpu.storage === 'f16' ? 16 : 32;
    const bytes = await gpu.engine.readBack.read(
      gpu.buffer,
      Math.max(4, Math.ceil((elements * bits) / 32) * 4),
    );
    return decode(this.dtype, gpu.storage, bytes, elements);
  }

  /** Gives GPU memory back. The tensor cannot be used afterwards. Idempotent. */
  dispose(): void {
    if (this.#gpu) this.#gpu.engine.buffers.release(this.#gpu.buffer);
    this.#gpu = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Elements as kernels store them, as the array type of the dtype. */
function decode<T extends NumericType>(
  dtype: T,
  storage: Storage,
  bytes: Uint8Array<ArrayBuffer>,
  elements: number,
): TypedArrays[T] {
  const Target = constructors[dtype];
  const wide =
    storage === 'f16'
      ? dtype === 'float16'
        ? undefined
        : fromFloat16Array(new Uint16Array(bytes.buffer, 0, elements))
      : storage === 'f32'
        ? new Float32Array(bytes.buffer, 0, elements)
        : storage === 'i32'
          ? new Int32Array(bytes.buffer, 0, elements)
          : new Uint32Array(bytes.buffer, 0, elements);
  if (!wide) return new Target(bytes.buffer.slice(0, elements * 2));
  return encode(dtype, wide);
}

/** Numbers as the array type of `dtype`, as ONNX's Cast would convert them. */
export function encode<T extends NumericType>(dtype: T, values: ArrayLike<number>): TypedArrays[T] {
  const Target = constructors[dtype];
  const count = values.length;
  const out = new Target(new ArrayBuffer(bytesOf(dtype, count)));
  switch (dtype) {
    case 'int64':
    case 'uint64':
      for (let i = 0; i < count; i++) (out as BigInt64Array)[i] = BigInt(Math.trunc(values[i]!));
      return out;
    case 'float16':
      for (let i = 0; i < count; i++) (out as Uint16Array)[i] = toFloat16(values[i]!);
      return out;
    case 'bfloat16':
    case 'int4':
    case 'uint4':
      throw new ShapeError('Tensor', { expected: 'a dtype that can leave the GPU', actual: dtype });
    default:
      for (let i = 0; i < count; i++) (out as Float32Array)[i] = values[i]!;
      return out;
  }
}
