import { InvalidModelError } from '../errors.ts';
import type { ByteSource } from '../source/source.ts';
import { sniffImpostor } from './sniff.ts';
import { type Segment, WireReader, wireType } from './wire.ts';

// A model file is a little structure and a lot of weights. The structure is fetched here, through a window that
// jumps over everything large that is not structure; decoding then runs synchronously over what was fetched.

/** Fields up to this many bytes are kept whatever they are; longer weights stay in the file. */
export const inlineLimit = 4096;

/** More structure than this is no model: SDXL's UNet has 4 MB. Bounds memory on hostile files. */
const maxStructureBytes = 256 * 2 ** 20;

/** Read-ahead doubles from the first to the second while reading goes on without a jump. */
const minReadAhead = 64 * 1024;
const maxReadAhead = 1024 * 1024;

/** A tag and a length, at their longest. */
const longestHeader = 20;

type Message = 'model' | 'graph' | 'node' | 'attribute' | 'tensor' | 'function';

/** What is done with long fields by message and field number. Those not listed are weights or unused: jumped over. */
const longFields: Readonly<Record<Message, Readonly<Record<number, Message | 'keep'>>>> = {
  model: { 2: 'keep', 3: 'keep', 7: 'graph', 8: 'keep', 25: 'function' },
  graph: { 1: 'node', 2: 'keep', 5: 'tensor', 11: 'keep', 12: 'keep', 13: 'keep' },
  node: { 1: 'keep', 2: 'keep', 3: 'keep', 4: 'keep', 5: 'attribute', 7: 'keep', 8: 'keep', 9: 'keep' },
  attribute: {
    1: 'keep',
    4: 'keep',
    5: 'tensor',
    6: 'graph',
    7: 'keep',
    8: 'keep',
    9: 'keep',
    10: 'tensor',
    11: 'graph',
    21: 'keep',
  },
  // 4, 9 and 10 are float_data, raw_data and double_data: as they lie in the file they are the raw layout.
  tensor: { 1: 'keep', 5: 'keep', 6: 'keep', 7: 'keep', 8: 'keep', 11: 'keep', 13: 'keep' },
  function: {
    1: 'keep',
    4: 'keep',
    5: 'keep',
    6: 'keep',
    7: 'node',
    9: 'keep',
    10: 'keep',
    11: 'attribute',
    13: 'keep',
  },
};

/** The structure of a model file: every byte but those of long fields that `decodeModel` does not look into. */
export async function readStructure(
  source: ByteSource,
  size: number,
  signal: AbortSignal | undefined,
): Promise<Segment[]> {
  return new StructureWalk(source, size, signal).run();
}

class StructureWalk {
  readonly #source: ByteSource;
  readonly #size: number;
  readonly #signal: AbortSignal | undefined;
  readonly #reader: WireReader;
  readonly #segments: Segment[] = [];
  /** Bytes kept in closed segments. */
  #kept = 0;
  /** The open segment: `#filled` bytes of `#buffer`, the first of them at `#start` in the file. */
  #start = 0;
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array();
  #filled = 0;
  #readAhead = maxReadAhead;

  constructor(source: ByteSource, size: number, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#size = size;
    this.#signal = signal;
    this.#reader = new WireReader(source.name, size, []);
  }

  async run(): Promise<Segment[]> {
    await this.#fill(longestHeader);
    const impostor = sniffImpostor(this.#buffer);
    if (impostor !== undefined) this.#reader.fail(impostor);
    await this.#walk('model', this.#size, 0);
    await this.#fill(0);
    this.#close();
    return this.#segments;
  }

  async #walk(message: Message, end: number, depth: number): Promise<void> {
    const reader = this.#reader;
    if (depth > 100) reader.fail('messages are nested more than 100 deep');
    const outer = reader.end;
    reader.end = end;
    while (reader.position < end) {
      if (reader.position + longestHeader > this.#start + this.#filled) await this.#fill(longestHeader);
      const field = reader.next();
      if (reader.wire !== wireType.delimited) {
        reader.skip();
        continue;
      }
      const length = reader.length();
      const treatment = length <= inlineLimit ? 'keep' : longFields[message][field];
      if (treatment === undefined) this.#jump(length);
      else if (treatment === 'keep') reader.seek(length);
      else await this.#walk(treatment, reader.position + length, depth + 1);
    }
    reader.end = outer;
  }

  /** Brings everything up to `ahead` bytes past the position into the open segment. */
  async #fill(ahead: number): Promise<void> {
    const from = this.#start + this.#filled;
    const needed = Math.min(this.#reader.position + ahead, this.#size);
    if (needed <= from) return;
    if (this.#kept + needed - this.#start > maxStructureBytes) {
      this.#reader.fail(`more than ${maxStructureBytes} bytes besides weights: no model has that`);
    }
    const length = Math.min(needed + this.#readAhead, this.#size) - from;
    this.#readAhead = Math.min(this.#readAhead * 2, maxReadAhead);
    const bytes = await this.#source.read(from, length, this.#signal);
    if (bytes.length !== length) {
      throw new InvalidModelError(`truncated: ${length} bytes wanted, ${bytes.length} came`, {
        file: this.#source.name,
        offset: from,
      });
    }
    if (this.#filled === 0) {
      this.#buffer = bytes;
    } else {
      if (this.#filled + length > this.#buffer.length) {
        const larger = new Uint8Array(
          Math.max(this.#filled + length, Math.min(2 * this.#filled, this.#size)),
        );
        larger.set(this.#buffer.subarray(0, this.#filled));
        this.#buffer = larger;
      }
      this.#buffer.set(bytes, this.#filled);
    }
    this.#filled += length;
    this.#reader.attach({ offset: this.#start, bytes: this.#buffer });
  }

  /** Ends the open segment here and begins the next one `length` bytes further. */
  #jump(length: number): void {
    this.#close();
    this.#reader.seek(length);
    const rest = this.#start + this.#filled - this.#reader.position;
    this.#buffer = rest > 0 ? this.#buffer.subarray(this.#filled - rest, this.#filled) : new Uint8Array();
    this.#start = this.#reader.position;
    this.#filled = Math.max(rest, 0);
    if (rest <= 0) this.#readAhead = minReadAhead;
    this.#reader.attach({ offset: this.#start, bytes: this.#buffer });
  }

  #close(): void {
    const length = this.#reader.position - this.#start;
    // A copy: a view would hold on to the whole window.
    this.#segments.push({ offset: this.#start, bytes: this.#buffer.slice(0, length) });
    this.#kept += length;
  }
}
