/** Bytes of one element of each dtype a safetensors file may name. */
const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

export type SafetensorsDtype = keyof typeof elementBytes;

/** One tensor of a safetensors file: row-major, little-endian bytes that alias the file. */
export interface SafeTensor {
  dtype: SafetensorsDtype;
  shape: number[];
  data: Uint8Array;
}

const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads a whole safetensors file, refusing what the format forbids: overlapping or out-of-range tensors, sizes that
 * disagree with the shape, unknown dtypes.
 */
export function readSafetensors(bytes: Uint8Array): Map<string, SafeTensor> {
  if (bytes.byteLength < 8) throw new Error('Not a safetensors file: shorter than its length field.');
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (headerBytes > BigInt(Math.min(MAX_HEADER_BYTES, bytes.byteLength - 8))) {
    throw new Error(`Not a safetensors file: header of ${headerBytes} bytes in ${bytes.byteLength}.`);
  }
  // Not subarray: what that gives for a Node Buffer is another Buffer, whose slice() does not copy.
  const bodyOffset = bytes.byteOffset + 8 + Number(headerBytes);
  const body = new Uint8Array(bytes.buffer, bodyOffset, bytes.byteLength - 8 - Number(headerBytes));
  const header: unknown = JSON.parse(
    new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + Number(headerBytes))),
  );
  if (!isRecord(header)) throw new Error('Not a safetensors file: its header is not an object.');
  const tensors = new Map<string, SafeTensor>();
  const spans: [begin: number, end: number][] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, begin, end } = readEntry(name, entry);
    if (end > body.byteLength)
      throw new Error(`Tensor '${name}' ends at ${end} of ${body.byteLength} bytes.`);
    spans.push([begin, end]);
    tensors.set(name, { dtype, shape, data: body.subarray(begin, end) });
  }
  spans.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let at = 0;
  for (const [begin, end] of spans) {
    if (begin !== at) throw new Error(`Tensors overlap or leave a gap at byte ${Math.min(begin, at)}.`);
    at = end;
  }
  if (at !== body.byteLength) throw new Error(`${body.byteLength - at} bytes belong to no tensor.`);
  return tensors;
}

/** The bytes of a safetensors file holding `tensors` in the order given. */
export function writeSafetensors(tensors: Iterable<readonly [string, SafeTensor]>): Uint8Array {
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    readEntry(name, header[name]);
    parts.push(data);
    at += data.byteLength;
  }
  // The format wants the body 8-byte aligned and allows trailing spaces in the header.
  const text = JSON.stringify(header);
  const json = new TextEncoder().encode(text.padEnd(text.length + ((8 - (text.length % 8)) % 8)));
  const file = new Uint8Array(8 + json.byteLength + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  file.set(json, 8);
  let offset = 8 + json.byteLength;
  for (const part of parts) {
    file.set(part, offset);
    offset += part.byteLength;
  }
  return file;
}

function readEntry(
  name: string,
  entry: unknown,
): { dtype: SafetensorsDtype; shape: number[]; begin: number; end: number } {
  if (!isRecord(entry)) throw new Error(`Tensor '${name}' has no description.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    throw new Error(`Tensor '${name}' has unknown dtype ${JSON.stringify(dtype)}.`);
  }
  if (!isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) {
    throw new Error(`Tensor '${name}' has a malformed shape or data_offsets.`);
  }
  const [begin, end] = offsets as [number, number];
  const known = dtype as SafetensorsDtype;
  const expected = shape.reduce((product, size) => product * size, elementBytes[known]);
  if (end - begin !== expected) {
    throw new Error(
      `Tensor '${name}' (${dtype} [${shape.join(', ')}]) spans ${end - begin} bytes, not ${expected}.`,
    );
  }
  return { dtype: known, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
