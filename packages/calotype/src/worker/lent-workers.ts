import { PortLink, WorkerCrashedError } from '@calotype/scheduler';
import type { CpuLink } from './cpu-thread.ts';
import type { HoldEvent } from './messages.ts';

/** How long a page may take to start a worker and to answer. */
const ANSWER_MS = 10_000;

type Emit = (event: HoldEvent) => void;

/**
 * Workers that pages start for an engine which cannot: a shared worker, in browsers where those start no workers. They end with
 * their page; then another page is asked.
 */
export class LentWorkers {
  /** Pages that may be asked. */
  readonly #lenders = new Set<Emit>();
  readonly #asked = new Map<string, { emit: Emit; answer: (given: MessagePort | Error) => void }>();

  readonly link: CpuLink = () => new PortLink(() => this.#ask());

  /** Adds a page. @returns takes it away again */
  add(emit: Emit): () => void {
    this.#lenders.add(emit);
    return () => {
      this.#lenders.delete(emit);
      for (const asked of this.#asked.values()) {
        if (asked.emit === emit) asked.answer(new WorkerCrashedError('the page is gone'));
      }
    };
  }

  /** A page's answer. */
  lend(id: string, given: MessagePort | Error): void {
    this.#asked.get(id)?.answer(given);
  }

  async #ask(): Promise<MessagePort> {
    let failure: Error = new WorkerCrashedError('no page lends one');
    // Those that came last will most likely stay longest.
    for (const emit of [...this.#lenders].toReversed()) {
      const id = crypto.randomUUID();
      const given = await new Promise<MessagePort | Error>((answer) => {
        this.#asked.set(id, { emit, answer });
        setTimeout(() => answer(new WorkerCrashedError('the page did not answer')), ANSWER_MS);
        emit({ type: 'lend', id });
      });
      this.#asked.delete(id);
      if (given instanceof MessagePort) return given;
      failure = given;
    }
    throw failure;
  }
}
