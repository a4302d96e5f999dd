/** A map that keeps the `limit` most recently used entries and disposes the others. */
export class RecentlyUsed<T extends { dispose(): void }> {
  readonly #limit: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, T>();

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What was used last. */
  get latest(): T | undefined {
    return [...this.#entries.values()].at(-1);
  }

  /** All that is kept, least recently used first. */
  values(): Iterable<T> {
    return this.#entries.values();
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  set(key: string, entry: T): void {
    this.#entries.set(key, entry);
    while (this.#entries.size > this.#limit) this.evict();
  }

  /** Disposes the least recently used entry. Whether there was one. */
  evict(): boolean {
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key);
      entry.dispose();
      return true;
    }
    return false;
  }
}
