import type { ByteSource } from '@calotype/core';
import { LoraError } from '../errors.ts';

const elementBytes = {
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, U16: 2, I16: 2, F16: 2, BF16: 2,
  U32: 4, I32: 4, F32: 4, U64: 8, I64: 8, F64: 8,
} as const; // prettier-ignore

export type SafetensorsDtype = keyof typeof elementBytes;

/** Where one tensor of a file lies, row-major and little-endian. */
export interface SafetensorsEntry {
  dtype: SafetensorsDtype;
  shape: readonly number[];
  /** Bytes from the start of the file. */
  offset: number;
  length: number;
}

/** The header of a file; contents are read when they are wanted. */
export interface SafetensorsHeader {
  tensors: ReadonlyMap<string, SafetensorsEntry>;
  metadata: Readonly<Record<string, string>>;
}

/** What the reference implementation allows; hostile files announce more. */
const maxHeaderBytes = 100_000_000;

/**
 * Reads the header of a safetensors file (https://github.com/huggingface/safetensors#format).
 *
 * @throws LoraError for what is no such file, or whose tensors do not lie inside it; SourceError, the signal's reason
 */
export async function readSafetensors(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsHeader> {
  const fail = (message: string, cause?: unknown): never => {
    throw new LoraError(source.name, `is no safetensors file: ${message}.`, { cause });
  };
  const size = await source.size(signal);
  if (size < 8) fail(`it has ${size} bytes`);
  const start = await source.read(0, 8, signal);
  const headerBytes = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (headerBytes > BigInt(Math.min(maxHeaderBytes, size - 8))) {
    fail(`it announces a header of ${headerBytes} bytes and has ${size}`);
  }
  const body = 8 + Number(headerBytes);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(await source.read(8, body - 8, signal)));
  } catch (cause) {
    if (cause instanceof SyntaxError) fail('its header is not JSON', cause);
    throw cause;
  }
  if (!isRecord(header)) return fail('its header is not an object');
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (isRecord(entry)) metadata = entry as Record<string, string>;
      continue;
    }
    const read = entryOf(entry, body);
    if (typeof read === 'string') return fail(`tensor '${name}' ${read}`);
    if (read.offset + read.length > size) fail(`tensor '${name}' ends beyond the file's ${size} bytes`);
    tensors.set(name, read);
  }
  return { tensors, metadata };
}

/** @returns what is wrong with it, if anything is */
function entryOf(entry: unknown, body: number): SafetensorsEntry | string {
  if (!isRecord(entry)) return 'has no description';
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    return `has the unknown dtype ${JSON.stringify(dtype)}`;
  }
  if (!isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) return 'has a malformed shape or place';
  const known = dtype as SafetensorsDtype;
  const [begin, end] = offsets as [number, number];
  const length = shape.reduce((product, dim) => product * dim, elementBytes[known]);
  if (end - begin !== length) return `spans ${end - begin} bytes in place of ${length}`;
  return { dtype: known, shape, offset: body + begin, length };
}

/**
 * A tensor's elements as floats.
 *
 * @throws LoraError for dtypes that are no floats of 16 bits or more
 */
export async function readFloats(
  source: ByteSource,
  entry: SafetensorsEntry,
  signal?: AbortSignal,
): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, offset, length } = entry;
  // A copy where the bytes do not begin at a multiple of the element's size.
  const read = await source.read(offset, length, signal);
  const { buffer } =
    read.byteOffset % 8 === 0 && read.byteLength === read.buffer.byteLength ? read : read.slice();
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer));
    case 'BF16':
      return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer);
    case 'F16':
      return fromHalves(new Uint16Array(buffer));
    default:
      throw new LoraError(source.name, `holds factors of dtype ${dtype}. Convert it to F16, BF16 or F32.`);
  }
}

/** IEEE halves by table: `Float16Array` is not in every browser yet. */
function fromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const result = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const bits = halves[i]!;
    const exponent = (bits >>> 10) & 0x1f;
    const mantissa = bits & 0x3ff;
    const magnitude =
      exponent === 0
        ? mantissa * 2 ** -24
        : exponent === 31
          ? mantissa === 0
            ? Infinity
            : NaN
          : (1024 + mantissa) * 2 ** (exponent - 25);
    result[i] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return result;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
