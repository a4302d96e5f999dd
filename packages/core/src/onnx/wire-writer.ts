// Protobuf's wire format, written: fields as byte arrays that are joined to messages.

export type Bytes = Uint8Array<ArrayBuffer>;

/** A field whose value is the concatenation of `parts`: a message, packed numbers or bytes. */
export function message(field: number, parts: readonly Uint8Array[]): Bytes {
  const body = join(parts);
  return join([tag(field, 2), varint(body.length), body]);
}

export function string(field: number, text: string): Bytes {
  return message(field, [new TextEncoder().encode(text)]);
}

export function strings(field: number, values: readonly string[] = []): Bytes[] {
  return values.map((value) => string(field, value));
}

export function int(field: number, value: number | bigint): Bytes {
  return join([tag(field, 0), varint(value)]);
}

export function float(field: number, value: number): Bytes {
  return join([tag(field, 5), fixed([value], 4)]);
}

/** Floats or doubles, one after the other. */
export function fixed(values: readonly number[], width: 4 | 8): Bytes {
  return new Uint8Array((width === 4 ? Float32Array : Float64Array).from(values).buffer);
}

/** Negative numbers take ten bytes, as 64-bit two's complement. */
export function varint(value: number | bigint): Bytes {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.of(...bytes, Number(rest));
}

function tag(field: number, wire: number): Bytes {
  return varint((field << 3) | wire);
}

export function join(parts: readonly Uint8Array[]): Bytes {
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
