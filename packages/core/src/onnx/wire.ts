import { InvalidModelError } from '../errors.ts';

/** Wire types of protobuf. Groups (3, 4) are not used by ONNX and are refused. */
export const wireType = { varint: 0, fixed64: 1, delimited: 2, fixed32: 5 } as const;

/** Messages inside messages. Ten nested `If` graphs are about thirty. */
const maxDepth = 100;

/** A run of a file's bytes in memory. */
export interface Segment {
  offset: number;
  bytes: Uint8Array;
}

const text = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Reads protobuf fields front to back from the parts of a file that are in memory. Positions are offsets in the
 * file; each read is checked against the end of the message it is in. Throws `InvalidModelError`.
 */
export class WireReader {
  readonly file: string;
  position = 0;
  /** End of the message being read. */
  end: number;
  /** Wire type of the field that `next` came to. */
  wire = 0;
  /** The two halves of the last varint, as unsigned 32-bit numbers. */
  low = 0;
  high = 0;
  #bytes: Uint8Array = new Uint8Array();
  #base = 0;
  #following: Segment[] = [];
  #depth = 0;

  constructor(file: string, size: number, segments: readonly Segment[]) {
    this.file = file;
    this.end = size;
    this.#following = segments.toReversed();
    this.#enterSegment();
  }

  /** Replaces what is in memory. For a reader over a moving window. */
  attach(segment: Segment): void {
    this.#bytes = segment.bytes;
    this.#base = segment.offset;
  }

  /** Throws `InvalidModelError` for this file. */
  fail(message: string, offset: number = this.position): never {
    throw new InvalidModelError(message, { file: this.file, offset });
  }

  /** Goes to the next field of the message and gives its number, 0 at the message's end. */
  next(): number {
    if (this.position >= this.end) return 0;
    const at = this.position;
    this.varint();
    const field = this.low >>> 3;
    this.wire = this.low & 7;
    if (this.high !== 0 || field === 0 || this.wire === 3 || this.wire === 4 || this.wire > 5) {
      this.fail('this is not protobuf: the file is damaged or no ONNX model', at);
    }
    return field;
  }

  /** Passes over the value of a field. */
  skip(): void {
    if (this.wire === wireType.varint) this.varint();
    else if (this.wire === wireType.delimited) this.seek(this.length());
    else this.#advance(this.wire === wireType.fixed64 ? 8 : 4);
  }

  /** Moves on by `bytes`, which may be a part of the file that is not in memory. */
  seek(bytes: number): void {
    this.position += bytes;
    this.#enterSegment();
  }

  /** Length of a delimited field, known to lie within the message. */
  length(): number {
    const at = this.position;
    this.expect(wireType.delimited);
    this.varint();
    const length = this.high * 2 ** 32 + this.low;
    if (length > this.end - this.position) {
      this.fail(
        `the file is truncated or damaged: ${length} bytes announced, ${this.end - this.position} left`,
        at,
      );
    }
    return length;
  }

  /** Reads a nested message. `read` must go on until `next` gives 0. */
  message<T>(read: (reader: WireReader) => T): T {
    const length = this.length();
    const outer = this.end;
    this.end = this.position + length;
    if (++this.#depth > maxDepth) this.fail(`messages are nested more than ${maxDepth} deep`);
    const result = read(this);
    this.#depth--;
    this.end = outer;
    return result;
  }

  /** Calls `read` for each element of a repeated number, packed or not. */
  repeated(element: number, read: () => void): void {
    if (this.wire !== wireType.delimited) {
      read();
      return;
    }
    this.message(() => {
      while (this.position < this.end) {
        this.wire = element;
        read();
      }
    });
  }

  /** The next `length` bytes: a view of what is in memory. */
  take(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** Four or eight fixed bytes. */
  fixed(): Uint8Array {
    if (this.wire !== wireType.fixed64) this.expect(wireType.fixed32);
    return this.take(this.wire === wireType.fixed64 ? 8 : 4);
  }

  string(): string {
    return text.decode(this.take(this.length()));
  }

  /** A 64-bit integer, clamped to what a number holds exactly. */
  int64(): number {
    this.expect(wireType.varint);
    this.varint();
    const value = (this.high | 0) * 2 ** 32 + this.low;
    return Math.min(Math.max(value, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  }

  /** A 32-bit integer or enum. Negative ones are ten bytes on the wire; the low half says it all. */
  int32(): number {
    this.expect(wireType.varint);
    this.varint();
    return this.low | 0;
  }

  float32(): number {
    this.expect(wireType.fixed32);
    const bytes = this.take(4);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  }

  expect(wire: number): void {
    if (this.wire !== wire) this.fail(`wire type ${this.wire} where ${wire} belongs: the file is damaged`);
  }

  /** Reads a varint into `low` and `high`. */
  varint(): void {
    const bytes = this.#bytes;
    const start = this.position;
    let at = start - this.#base;
    const end = this.end - this.#base;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= end) this.fail('the file is truncated or damaged: a number has no end', start);
      const byte = bytes[at++];
      if (byte === undefined) throw this.#notInMemory();
      if (shift === 63 && byte > 1) this.fail('a number is longer than 64 bits: the file is damaged', start);
      const part = byte & 0x7f;
      if (shift < 32) low |= part << shift;
      if (shift === 28) high = part >>> 4;
      else if (shift > 28) high |= part << (shift - 32);
      if (byte < 0x80) break;
    }
    this.low = low >>> 0;
    this.high = high >>> 0;
    this.position = at + this.#base;
  }

  /** Passes over `length` bytes in memory and gives the index of the first. */
  #advance(length: number): number {
    if (length > this.end - this.position)
      this.fail('the file is truncated or damaged: a field is cut short');
    const start = this.position - this.#base;
    if (start + length > this.#bytes.length) throw this.#notInMemory();
    this.position += length;
    return start;
  }

  #enterSegment(): void {
    for (
      let next = this.#following.at(-1);
      next && next.offset <= this.position;
      next = this.#following.at(-1)
    ) {
      this.attach(next);
      this.#following.pop();
    }
  }

  #notInMemory(): Error {
    return new Error(`Internal error: byte ${this.position} of ${this.file} was passed over as weights.`);
  }
}
