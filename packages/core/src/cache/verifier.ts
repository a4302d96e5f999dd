import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { BLOCK_BYTES } from '../source/source.ts';

/** Bytes hashed before others get a turn: about 7 ms. */
const WINDOW_BYTES = 2 ** 20;

/** SHA-256 of a file whose chunks come in any order: hashes as far as they are there without a gap. */
export class Verifier {
  readonly #hash = sha256.create();
  readonly #bytes: number;
  readonly #read: (offset: number, target: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly #window = new Uint8Array(WINDOW_BYTES);
  readonly #there = new Set<number>();
  #next = 0;
  #work: Promise<void> = Promise.resolve();

  /**
   * @param bytes of the whole file
   * @param read fills its second argument with the file's bytes from `offset` on, out of chunks that `add` has named
   */
  constructor(bytes: number, read: (offset: number, target: Uint8Array<ArrayBuffer>) => Promise<void>) {
    this.#bytes = bytes;
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
    if (this.#next * BLOCK_BYTES < this.#bytes)
      throw new Error('Internal error: digest of an unfinished file');
    return bytesToHex(this.#hash.digest());
  }

  async #advance(): Promise<void> {
    while (this.#there.has(this.#next)) {
      const end = Math.min(this.#bytes, (this.#next + 1) * BLOCK_BYTES);
      for (let at = this.#next * BLOCK_BYTES; at < end; at += WINDOW_BYTES) {
        const window = this.#window.subarray(0, end - at);
        await this.#read(at, window);
        this.#hash.update(window);
      }
      this.#next++;
    }
  }
}

/** A short name for `text` that is a file name everywhere. */
export function nameOf(text: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(text))).slice(0, 24);
}
