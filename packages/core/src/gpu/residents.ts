/** What holds memory of an engine that it can get again later: a session. */
export interface Resident {
  /** Whether nothing of it is under way. */
  readonly isIdle: boolean;
  /** Gives all of it back. False where it held nothing. */
  evict(): boolean;
}

/**
 * Whoever holds memory of an engine, in the order of use. When memory runs out, what was used longest ago and is idle
 * gives its own back: so the stages of a pipeline take turns where they do not fit beside each other.
 */
export class Residents {
  readonly #order = new Set<Resident>();

  /** Notes a use. */
  touch(resident: Resident): void {
    this.#order.delete(resident);
    this.#order.add(resident);
  }

  remove(resident: Resident): void {
    this.#order.delete(resident);
  }

  /** Makes one of them give its memory back. False where none can. */
  evictOne(): boolean {
    for (const resident of this.#order) if (resident.isIdle && resident.evict()) return true;
    return false;
  }
}
