import type { Estimates } from './estimate.ts';
import type { Busy } from './gpu-lane.ts';
import { compareTurns, noteOvertaken } from './policy.ts';
import { stageOf, type Entry, type RequestEvent } from './request.ts';
import { GPU_TRACK } from './span.ts';
import type { Trace } from './trace.ts';

/** Tells requests how they are getting on, and records it. */
export class Reporter {
  readonly #entries: ReadonlySet<Entry>;
  readonly #estimates: Estimates;
  trace: Trace | undefined;

  constructor(entries: ReadonlySet<Entry>, estimates: Estimates) {
    this.#entries = entries;
    this.#estimates = estimates;
  }

  /** Sends an event, unless the request has settled or started over since. */
  emit(entry: Entry, event: RequestEvent, life: number = entry.life): void {
    if (entry.state === 'ended' || entry.life !== life) return;
    try {
      entry.onEvent?.(event);
    } catch (error) {
      // The listener's own fault: it must not stop the others' requests.
      setTimeout(() => {
        throw error;
      });
    }
  }

  /** Says how far its stage is. */
  step(entry: Entry): void {
    if (!entry.onEvent) return;
    const { steps, stepIndex: step } = entry.job!;
    const remainingMs = this.#estimates.remaining(entry, inOrder(this.#entries));
    this.emit(entry, { type: 'step', stage: stageOf(entry).name, step, steps, remainingMs });
  }

  /** Says to those whose place in the queue has changed where they are. */
  positions(): void {
    if (![...this.#entries].some(({ active, onEvent }) => !active && onEvent)) return;
    let position = 0;
    // Summed up on the way: asking for each would look at all for each, which a thousand would feel.
    let aheadMs = 0;
    for (const entry of inOrder(this.#entries)) {
      const ownMs = this.#estimates.work(entry);
      if (!entry.active && entry.position !== ++position) {
        entry.position = position;
        const remainingMs = ownMs === undefined ? undefined : aheadMs + ownMs;
        this.emit(entry, { type: 'queued', position, remainingMs });
      }
      aheadMs += ownMs ?? 0;
    }
  }

  /** After the GPU has done a step of these. */
  measured(batch: readonly Entry[], stage: string, { ms, start, end }: Busy): void {
    noteOvertaken(this.#entries, batch[0]!, ms);
    const requests = batch.map(({ name }) => name);
    this.trace?.add({ track: GPU_TRACK, name: stage, start, end, args: { requests } });
  }

  /** Records a span on the request's own track. */
  span(entry: Entry, name: string, start: number, end: number = performance.now()): void {
    this.trace?.add({ track: entry.name, name, start, end });
  }
}

/** Requests in the order of their turns. */
export function inOrder(entries: Iterable<Entry>, include: (entry: Entry) => boolean = () => true): Entry[] {
  return [...entries].filter(include).sort(compareTurns);
}

/** The request whose turn comes first among those included. */
export function first(entries: Iterable<Entry>, include: (entry: Entry) => boolean): Entry | undefined {
  let best: Entry | undefined;
  for (const entry of entries) {
    if ((!best || compareTurns(entry, best) < 0) && include(entry)) best = entry;
  }
  return best;
}
