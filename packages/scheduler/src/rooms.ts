import { agedPriority } from './policy.ts';
import type { Entry } from './request.ts';
import type { AnyStage } from './stage.ts';

/** Who is in which stage, and the memory counted for them. */
export class Rooms {
  readonly #budget: number;
  readonly #inside = new Map<AnyStage, Set<Entry>>();
  #heldBytes = 0;

  /** @param budget bytes that all may hold together */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Bytes counted for all jobs. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Whether a stage can take a request. Those of lower priority do not count in its capacity, or they would hold up the
   * more urgent ones; nor does the budget for one that is alone.
   */
  has(entry: Entry, stage: AnyStage): boolean {
    const priority = agedPriority(entry);
    let taken = 0;
    for (const other of this.#inside.get(stage) ?? []) if (agedPriority(other) >= priority) taken++;
    if (taken >= stage.capacity) return false;
    const bytes = stage.bytes?.(entry.value) ?? 0;
    return this.#heldBytes === 0 || this.#heldBytes + bytes <= this.#budget;
  }

  /** Moves a request from the stage it was in. */
  enter(entry: Entry, stage: AnyStage, bytes: number): void {
    this.#leaveStage(entry);
    let inside = this.#inside.get(stage);
    if (!inside) this.#inside.set(stage, (inside = new Set()));
    inside.add(entry);
    entry.room = stage;
    this.#hold(entry, bytes);
  }

  /** Gives back the memory counted for a request; it still takes up room where it was. */
  release(entry: Entry): void {
    this.#hold(entry, 0);
  }

  /** Gives back room and memory. Idempotent. */
  leave(entry: Entry): void {
    this.#leaveStage(entry);
    this.#hold(entry, 0);
  }

  #leaveStage(entry: Entry): void {
    if (!entry.room) return;
    const inside = this.#inside.get(entry.room);
    inside?.delete(entry);
    if (inside?.size === 0) this.#inside.delete(entry.room);
    entry.room = undefined;
  }

  #hold(entry: Entry, bytes: number): void {
    this.#heldBytes += bytes - entry.heldBytes;
    entry.heldBytes = bytes;
  }
}
