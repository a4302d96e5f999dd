import { untilAbort } from '../abort.ts';
import type { TensorRef } from '../onnx/model.ts';
import { BLOCK_BYTES, type ByteSource } from '../source/source.ts';

/** Pieces start here in their tensors, as writing to buffers wants it. */
const ALIGNMENT = 16;

/** Neighbours in a file are fetched together when no more than this lies between them. */
const GAP_BYTES = 64 * 2 ** 10;

/** Bytes that may lie in memory, being read or waiting for their turn. */
const AHEAD_BYTES = 64 * 2 ** 20;

/** What is shorter is read into memory of its own: the stretches that are used again all have a block's size. */
const LONG_BYTES = 2 ** 20;

/** Requests under way at once. */
const REQUESTS = 6;

/** Part of a tensor: `length` bytes from `start` of its contents on. */
interface Piece {
  start: number;
  length: number;
  /** Where it lies in the file. */
  offset: number;
  run: Run;
}

/** Stretch of a file that is fetched with one request. */
interface Run {
  source: ByteSource;
  offset: number;
  length: number;
  /** Pieces of it that nobody has taken yet. */
  left: number;
  bytes: Promise<Uint8Array<ArrayBuffer>> | undefined;
  /** Whether it was let go before all of it was taken; the rest is fetched piece by piece. */
  dropped: boolean;
}

/**
 * Reads constants in the order in which they are wanted: ahead of time, neighbours in the file together, with bounded
 * memory. A file is fetched about once even when its order is another than the one wanted.
 */
export class WeightReader {
  readonly #signal: AbortSignal | undefined;
  readonly #stop = new AbortController();
  readonly #pieces = new Map<TensorRef, Piece[]>();
  /** Runs in the order of their first use. */
  readonly #order: Run[];
  #next = 0;
  #inMemory = 0;
  #requests = 0;
  /** Blocks of memory that nobody uses. Gigabytes pass through a few of them: what is left to collect counts as used. */
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /** @param refs what will be read, in that order; only those that lie in files matter */
  constructor(refs: Iterable<TensorRef>, signal: AbortSignal | undefined) {
    this.#signal = signal;
    const again: TensorRef[] = [];
    for (const ref of refs) {
      if (this.#pieces.has(ref)) again.push(ref);
      else this.#pieces.set(ref, piecesOf(ref));
    }
    const pieces = [...this.#pieces.values()].flat();
    merge(pieces);
    for (const ref of again) for (const { run } of this.#pieces.get(ref)!) run.left++;
    this.#order = [...new Set(pieces.map(({ run }) => run))];
  }

  /** Bytes being read or waiting for their turn. */
  get bytesInMemory(): number {
    return this.#inMemory;
  }

  /**
   * Contents of one of the constants, piece by piece; a piece is valid until the next is asked for.
   *
   * @throws SourceError, the signal's reason
   */
  async *read(ref: TensorRef): AsyncGenerator<{ start: number; bytes: Uint8Array<ArrayBuffer> }> {
    for (const { start, length, offset, run } of this.#pieces.get(ref) ?? []) {
      this.#signal?.throwIfAborted();
      if (!run.bytes && !run.dropped) this.#fetch(run);
      this.#readAhead();
      const { bytes } = run;
      if (bytes) {
        const from = offset - run.offset;
        yield { start, bytes: (await untilAbort(bytes, this.#signal)).subarray(from, from + length) };
      } else {
        yield { start, bytes: await run.source.read(offset, length, this.#signal) };
      }
      if (--run.left === 0) this.#release(run);
    }
  }

  /** Cancels what is being read. */
  close(): void {
    this.#stop.abort();
    for (const run of this.#order) run.bytes = undefined;
  }

  #readAhead(): void {
    while (this.#next < this.#order.length && this.#requests < REQUESTS) {
      const run = this.#order[this.#next]!;
      if (!run.bytes && !run.dropped && run.left > 0) {
        if (this.#inMemory + memoryOf(run) > AHEAD_BYTES) return;
        this.#fetch(run);
      }
      this.#next++;
    }
  }

  #fetch(run: Run): void {
    this.#makeRoom();
    this.#inMemory += memoryOf(run);
    this.#requests++;
    const signal = this.#signal ? AbortSignal.any([this.#signal, this.#stop.signal]) : this.#stop.signal;
    run.bytes = isPooled(run)
      ? this.#readPooled(run, signal)
      : run.source.read(run.offset, run.length, signal);
    void run.bytes.catch(() => {}).finally(() => this.#requests--);
  }

  /** Where the order wanted is far from the file's, half-used runs pile up: the oldest are let go. */
  #makeRoom(): void {
    for (const run of this.#order) {
      if (this.#inMemory <= 2 * AHEAD_BYTES) return;
      if (!run.bytes) continue;
      run.dropped = true;
      this.#release(run);
    }
  }

  async #readPooled(run: Run, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const block = this.#free.pop() ?? new Uint8Array(BLOCK_BYTES);
    const bytes = block.subarray(0, run.length);
    await run.source.readInto!(run.offset, bytes, signal);
    return bytes;
  }

  #release(run: Run): void {
    const { bytes } = run;
    if (!bytes) return;
    this.#inMemory -= memoryOf(run);
    run.bytes = undefined;
    // What failed may have been given up half-way: its memory is not used again.
    if (isPooled(run)) bytes.then(({ buffer }) => this.#free.push(new Uint8Array(buffer))).catch(() => {});
  }
}

function isPooled({ source, length }: Run): boolean {
  return length >= LONG_BYTES && source.readInto !== undefined;
}

/** Bytes of memory that a run takes. */
function memoryOf(run: Run): number {
  return isPooled(run) ? BLOCK_BYTES : run.length;
}

/** Cuts a tensor where its file is cut in blocks, so that no piece needs two of them. */
function piecesOf({ data }: TensorRef): Piece[] {
  if (data.kind !== 'range') return [];
  const { source, offset, length } = data;
  const pieces: Piece[] = [];
  for (let start = 0; start < length;) {
    const toBlock = BLOCK_BYTES - ((offset + start) % BLOCK_BYTES);
    const part = Math.min(
      toBlock > ALIGNMENT ? toBlock - (toBlock % ALIGNMENT) : BLOCK_BYTES,
      length - start,
    );
    const run: Run = {
      source,
      offset: offset + start,
      length: part,
      left: 1,
      bytes: undefined,
      dropped: false,
    };
    pieces.push({ start, length: part, offset: offset + start, run });
    start += part;
  }
  return pieces;
}

/** Gives pieces that lie close together in a file one run. */
function merge(pieces: readonly Piece[]): void {
  const bySource = new Map<ByteSource, Piece[]>();
  for (const piece of pieces) {
    const group = bySource.get(piece.run.source);
    if (group) group.push(piece);
    else bySource.set(piece.run.source, [piece]);
  }
  for (const group of bySource.values()) {
    let open: Run | undefined;
    for (const piece of group.toSorted((a, b) => a.offset - b.offset)) {
      const end = piece.offset + piece.length;
      const near = open !== undefined && piece.offset <= open.offset + open.length + GAP_BYTES;
      const isSameBlock = open !== undefined && blockOf(open.offset) === blockOf(end - 1);
      if (open && near && isSameBlock) {
        open.length = Math.max(open.length, end - open.offset);
        open.left++;
        piece.run = open;
      } else {
        open = piece.run;
      }
    }
  }
}

function blockOf(offset: number): number {
  return Math.floor(offset / BLOCK_BYTES);
}
