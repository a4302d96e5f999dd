import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';

/** SHA-256 of a file whose chunks come in any order: hashes as far as they are there without a gap. */
export class Verifier {
  readonly #hash = sha256.create();
  readonly #chunks: number;
  readonly #read: (chunk: number) => AsyncIterable<Uint8Array>;
  readonly #there = new Set<number>();
  #next = 0;
  #work: Promise<void> = Promise.resolve();

  /** @param read gives the bytes of a chunk that `add` has named */
  constructor(chunks: number, read: (chunk: number) => AsyncIterable<Uint8Array>) {
    this.#chunks = chunks;
    this.#read = read;
  }

  /** A chunk has come. */
  add(chunk: number): void {
    this.#there.add(chunk);
    this.#work = this.#work.then(() => this.#advance());
    // `digest` throws what went wrong.
    this.#work.catch(() => {});
  }

  /** The digest in hexadecimal, once every chunk was added. Throws what reading throws. */
  async digest(): Promise<string> {
    await this.#work;
    if (this.#next < this.#chunks) throw new Error('Internal error: digest of an unfinished file');
    return bytesToHex(this.#hash.digest());
  }

  async #advance(): Promise<void> {
    while (this.#there.has(this.#next)) {
      for await (const piece of this.#read(this.#next)) this.#hash.update(piece);
      this.#next++;
    }
  }
}

/** A short name for `text` that is a file name everywhere. */
export function nameOf(text: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(text))).slice(0, 24);
}
