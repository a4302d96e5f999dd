import { DisposedError, ShapeError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../plan/plan.ts';
import { toNumbers } from '../onnx/elements.ts';
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

interface ArrayConstructor<A> {
  new (buffer: ArrayBuffer): A;
  readonly BYTES_PER_ELEMENT: number;
}

const constructors: { [T in NumericType]: ArrayConstructor<TypedArrays[T]> } = {
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
  #version = 0;

  /**
   * A tensor on the CPU. `data` is used, not copied, and must not change while a run reads it. int64 data may be given
   * as an `Int32Array`, which is copied.
   *
   * @throws ShapeError when the number of elements does not match `shape`
   */
  constructor(dtype: T, shape: Shape, data: TypedArrays[T] | Int32Array | GpuData) {
    this.dtype = dtype;
    this.shape = [...shape];
    if ('engine' in data) {
      this.#gpu = data;
      return;
    }
    const given = dtype === 'int64' && data instanceof Int32Array ? BigInt64Array.from(data, BigInt) : data;
    const elements = sizeOf(shape);
    const fits =
      shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0) &&
      given instanceof constructors[dtype] &&
      given.byteLength === bytesOf(dtype, elements);
    if (!fits) {
      const expected = bytesOf(dtype, elements) / constructors[dtype].BYTES_PER_ELEMENT;
      throw new ShapeError(`Tensor('${dtype}', ${formatShape(shape)})`, {
        expected: `${constructors[dtype].name} of ${expected} elements`,
        actual: `${given.constructor.name} of ${given.length}`,
      });
    }
    this.#cpu = given;
  }

  /** A tensor over GPU memory that it owns from now on. For runtimes that fill buffers themselves. */
  static onGpu(engine: Engine, dtype: DataType, shape: Shape, buffer: GPUBuffer, storage: Storage): Tensor {
    if (dtype === 'string') throw new Error('Internal error: strings cannot lie on the GPU');
    return new Tensor(dtype, shape, { engine, buffer, storage });
  }

  /** A tensor on the CPU from numbers, converted to `dtype` as ONNX's Cast would. */
  static from<T extends NumericType>(dtype: T, shape: Shape, values: ArrayLike<number>): Tensor<T> {
    return new Tensor(dtype, shape, encode(dtype, values));
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

  /** Grows with every `markChanged`: what was computed from an earlier version of a stable input is stale. */
  get version(): number {
    return this.#version;
  }

  /** Tells sessions that the contents were changed in place. Runs that write into a tensor do it themselves. */
  markChanged(): void {
    this.#version++;
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

/** Elements of a CPU array as doubles. 64-bit integers beyond 2^53 are rounded. */
export function toDoubles(dtype: NumericType, data: TypedArray, elements: number): Float64Array<ArrayBuffer> {
  return toNumbers(dtype, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), elements);
}

/** Bytes of a CPU tensor as the GPU reads them (`fileStorage`): raw, or the nearest 32-bit type. */
export function rawBytes(tensor: Tensor): Uint8Array<ArrayBuffer> {
  const data = tensor.cpu!;
  const Wide = { float64: Float32Array, int16: Int32Array, uint16: Uint32Array, uint64: Uint32Array }[
    tensor.dtype as string
  ];
  const source = Wide ? Wide.from(toDoubles(tensor.dtype, data, sizeOf(tensor.shape))) : data;
  return new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength);
}

/** Elements of a CPU tensor in a storage that kernels write. */
export function storedBytes(tensor: Tensor, storage: Storage): Uint8Array<ArrayBuffer> {
  const values = toDoubles(tensor.dtype, tensor.cpu!, sizeOf(tensor.shape));
  const typed =
    storage === 'f16'
      ? Uint16Array.from(values, toFloat16)
      : storage === 'f32'
        ? Float32Array.from(values)
        : storage === 'i32'
          ? Int32Array.from(values)
          : Uint32Array.from(values);
  return new Uint8Array(typed.buffer);
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
