import { bitsOf, bytesOf, type DataType } from '../tensor/dtype.ts';
import { dtypeOf } from './element-types.ts';
import type { ExternalData } from './external-data.ts';
import type { TensorData, TensorRef } from './model.ts';
import { inlineLimit } from './structure.ts';
import { type WireReader, wireType } from './wire.ts';
import type { ByteSource } from '../source/source.ts';

/** What decoding a tensor needs to know of the file, and collects for after it. */
export interface TensorContext {
  source: ByteSource;
  /** Tensors whose bytes are in other files, to be resolved once all is decoded. */
  external: ExternalData[];
}

/** No tensor of a diffusion model comes near; dimensions beyond are damage or an attack. */
const maxElements = 2 ** 31;

/** A TensorProto as it lies in the file. */
interface Parts {
  name: string;
  code: number;
  dims: number[];
  isExternal: boolean;
  /** Entries of external_data: location, offset, length. */
  entries: Map<string, string>;
  strings: string[];
  /** Elements of a varint field; 64-bit ones as low and high half. */
  numbers: number[];
  /** Contents of raw_data, float_data and double_data. */
  pieces: (Uint8Array | { offset: number; length: number })[];
  /** Which data fields hold something. */
  stored: Set<string>;
}

/** Decodes a TensorProto. Its bytes stay in the file unless they are few or stored as varints. */
export function decodeTensor(reader: WireReader, context: TensorContext): TensorRef {
  const start = reader.position;
  const parts = readParts(reader);
  const { name, dims } = parts;
  const fail = (message: string): never => reader.fail(`tensor '${name}': ${message}`, start);
  const dtype = dtypeOf(parts.code);
  if (dtype === undefined) return fail(`element type ${parts.code} is unknown or not supported`);
  const elements = countElements(dims, fail);
  const [field, ...others] = parts.stored;
  if (others.length > 0) fail(`both ${field} and ${others.join(', ')} hold data`);
  const tensor: TensorRef = { name, dtype, dims, data: { kind: 'inline', bytes: new Uint8Array() } };
  if (dtype === 'string') {
    if (parts.strings.length !== elements) fail(`${parts.strings.length} strings for ${elements} elements`);
    tensor.data = { kind: 'strings', values: parts.strings };
  } else if (parts.isExternal) {
    if (field !== undefined) fail(`data is said to be external, but ${field} holds some`);
    context.external.push({ tensor, entries: parts.entries, offset: start });
  } else {
    tensor.data = dataOf(parts, dtype, elements, field, context.source, fail);
  }
  return tensor;
}

function readParts(reader: WireReader): Parts {
  const parts: Parts = {
    name: '',
    code: 0,
    dims: [],
    isExternal: false,
    entries: new Map<string, string>(),
    strings: [],
    numbers: [],
    pieces: [],
    stored: new Set<string>(),
  };
  const { numbers } = parts;
  const pushHalves = (): void => {
    reader.varint();
    numbers.push(reader.low, reader.high);
  };
  const readNumbers = (field: string, read: () => void): void => {
    reader.repeated(wireType.varint, read);
    if (numbers.length > 0) parts.stored.add(field);
  };
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) reader.repeated(wireType.varint, () => parts.dims.push(reader.int64()));
    else if (field === 2) parts.code = reader.int32();
    else if (field === 4) readPiece(reader, parts, 'float_data');
    else if (field === 5) readNumbers('int32_data', () => numbers.push(reader.int32()));
    else if (field === 6) parts.strings.push(reader.string());
    else if (field === 7) readNumbers('int64_data', pushHalves);
    else if (field === 8) parts.name = reader.string();
    else if (field === 9) readPiece(reader, parts, 'raw_data');
    else if (field === 10) readPiece(reader, parts, 'double_data');
    else if (field === 11) readNumbers('uint64_data', pushHalves);
    else if (field === 13) reader.message(() => readEntry(reader, parts.entries));
    else if (field === 14) parts.isExternal = reader.int32() === 1;
    else reader.skip();
  }
  return parts;
}

/** Packed floats and doubles are the raw layout already, so they may stay where they are. */
function readPiece(reader: WireReader, parts: Parts, field: string): void {
  const isPacked = reader.wire === wireType.delimited;
  if (isPacked || field === 'raw_data') {
    const length = reader.length();
    if (length === 0) return;
    parts.stored.add(field);
    parts.pieces.push(length > inlineLimit ? { offset: reader.position, length } : reader.take(length));
    if (length > inlineLimit) reader.seek(length);
    return;
  }
  parts.stored.add(field);
  parts.pieces.push(reader.fixed());
}

/** Reads a StringStringEntryProto. */
function readEntry(reader: WireReader, entries: Map<string, string>): void {
  let key = '';
  let value = '';
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) key = reader.string();
    else if (field === 2) value = reader.string();
    else reader.skip();
  }
  entries.set(key, value);
}

function countElements(dims: readonly number[], fail: (message: string) => never): number {
  // Zeros aside, so that [0, 2^60] is refused too.
  let product = 1;
  for (const dim of dims) {
    if (dim < 0) fail(`negative dimension in [${dims.join(', ')}]`);
    product *= dim || 1;
    if (product > maxElements) fail(`more than 2^31 elements: [${dims.join(', ')}]`);
  }
  return dims.includes(0) ? 0 : product;
}

/** Which element types a data field may hold. raw_data holds all. */
const typesIn: Readonly<Record<string, readonly DataType[]>> = {
  float_data: ['float32'],
  double_data: ['float64'],
  int64_data: ['int64'],
  uint64_data: ['uint64', 'uint32'],
  int32_data: [
    ...([
      'int32',
      'int16',
      'int8',
      'int4',
      'uint16',
      'uint8',
      'uint4',
      'bool',
      'float16',
      'bfloat16',
    ] as const),
  ],
};

function dataOf(
  parts: Parts,
  dtype: DataType,
  elements: number,
  field: string | undefined,
  source: ByteSource,
  fail: (message: string) => never,
): TensorData {
  const wanted = bytesOf(dtype, elements);
  if (field !== undefined && typesIn[field]?.includes(dtype) === false) fail(`${field} cannot hold ${dtype}`);
  const [first, second] = parts.pieces;
  if (first !== undefined && !(first instanceof Uint8Array) && second === undefined) {
    checkLength(first.length, wanted);
    return { kind: 'range', source, offset: first.offset, length: first.length };
  }
  const bytes = parts.pieces.length > 0 ? join(parts.pieces, fail) : pack(parts.numbers, field, dtype);
  checkLength(bytes.length, wanted);
  return { kind: 'inline', bytes };

  function checkLength(actual: number, expected: number): void {
    if (actual === expected) return;
    fail(`${actual} bytes of data where ${dtype}[${parts.dims.join(', ')}] has ${expected}`);
  }
}

function join(pieces: Parts['pieces'], fail: (message: string) => never): Uint8Array<ArrayBuffer> {
  const kept = pieces.filter((piece) => piece instanceof Uint8Array);
  if (kept.length < pieces.length) fail('large data in several pieces, which no exporter writes');
  const bytes = new Uint8Array(kept.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of kept) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Elements of a varint field in the raw layout. An int32_data number of a 4-bit type is a byte of two elements. */
function pack(
  numbers: readonly number[],
  field: string | undefined,
  dtype: DataType,
): Uint8Array<ArrayBuffer> {
  const width = Math.max(bitsOf[dtype] / 8, 1);
  const step = field === 'int64_data' || field === 'uint64_data' ? 2 : 1;
  const count = numbers.length / step;
  const view = new DataView(new ArrayBuffer(count * width));
  for (let i = 0; i < count; i++) {
    const low = numbers[i * step]!;
    if (width === 1) view.setUint8(i, low);
    else if (width === 2) view.setUint16(i * 2, low, true);
    else view.setUint32(i * width, low, true);
    if (width === 8) view.setUint32(i * 8 + 4, numbers[i * step + 1]!, true);
  }
  return new Uint8Array(view.buffer);
}
