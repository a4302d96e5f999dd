import { float16Bits } from '../../hash-fill.ts';
import { readSafetensors, type SafeTensor } from '../../safetensors.ts';

/** Fetches a file under the folder verified. */
export async function fetchFixture(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(fixtureUrl(path));
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Where the runner shows the folder verified. */
export function fixtureUrl(path: string): string {
  return new URL(`/fixtures/${path.split('/').map(encodeURIComponent).join('/')}`, location.href).href;
}

/** Reads a safetensors file under the folder verified. */
export async function fetchTensors(path: string): Promise<Map<string, SafeTensor>> {
  return readSafetensors(await fetchFixture(path));
}

/** A tensor's elements as numbers, whatever its dtype. 64-bit integers beyond 2^53 lose their last bits. */
export function toNumbers({ dtype, data }: SafeTensor): ArrayLike<number> {
  const buffer = data.slice().buffer;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F64':
      return new Float64Array(buffer);
    case 'F16':
      return Float32Array.from(new Uint16Array(buffer), float16Value);
    case 'BF16':
      return Float32Array.from(new Uint16Array(buffer), (bits) => bfloat16Value(bits));
    case 'I64':
      return Float64Array.from(new BigInt64Array(buffer), Number);
    case 'U64':
      return Float64Array.from(new BigUint64Array(buffer), Number);
    case 'I32':
      return new Int32Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'U16':
      return new Uint16Array(buffer);
    case 'I8':
      return new Int8Array(buffer);
    case 'U8':
    case 'BOOL':
      return new Uint8Array(buffer);
  }
}

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
} as const;

/** Array types that both engines take for the dtypes a graph's inputs may have. */
export type InputArray = InstanceType<(typeof arrays)[keyof typeof arrays]> | BigInt64Array | BigUint64Array;

/** Numbers as the array that a graph input of `dtype` takes: float16 as bits, 64-bit integers as bigints. */
export function fromNumbers(dtype: string, values: ArrayLike<number>): InputArray {
  switch (dtype) {
    case 'float16':
      return Uint16Array.from(values, float16Bits);
    case 'int64':
      return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.trunc(value))));
    case 'uint64':
      return BigUint64Array.from(Array.from(values, (value) => BigInt(Math.trunc(value))));
    case 'bool':
      return Uint8Array.from(values, (value) => (value ? 1 : 0));
    default: {
      if (!(dtype in arrays)) throw new Error(`A graph input of dtype ${dtype} is not supported here.`);
      return arrays[dtype as keyof typeof arrays].from(values);
    }
  }
}

/** The value of float16 bits. */
export function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 25) * (1024 + mantissa) : 2 ** -24 * mantissa);
}

function bfloat16Value(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

/** A graph output's elements as numbers: float16 arrives as bits, 64-bit integers as bigints. */
export function outputNumbers(dtype: string, data: ArrayLike<number> | ArrayLike<bigint>): ArrayLike<number> {
  if (dtype === 'float16') return Float32Array.from(data as ArrayLike<number>, float16Value);
  if (dtype === 'int64' || dtype === 'uint64') return Float64Array.from(data as ArrayLike<bigint>, Number);
  return data as ArrayLike<number>;
}
