import type { GenerateResult } from '../pipelines/pipeline.ts';
import type { OutputType } from '../stages/picture.ts';
import type { ClientProgress, Order } from './messages.ts';

/**
 * A generation that was asked for. Iterating it gives its progress until it settles; an error ends the iteration too.
 *
 * @example
 * const handle = client.submit({ prompt: 'a lighthouse at night', previewEvery: 5 });
 * for await (const progress of handle) show(progress);
 * const { images } = await handle.result;
 */
export class GenerationHandle<T extends OutputType> implements AsyncIterable<ClientProgress> {
  /** Settles in any case: with the pictures, the reason it was cancelled for, or what went wrong. */
  readonly result: Promise<GenerateResult<T>>;
  readonly #controller = new AbortController();
  readonly #reorder: (order: Order) => Promise<void>;
  readonly #listeners = new Set<(progress: ClientProgress | undefined) => void>();
  #isSettled = false;

  /** Use `TextToImageClient.submit`. */
  constructor(
    start: (signal: AbortSignal, onEvent: (progress: ClientProgress) => void) => Promise<GenerateResult<T>>,
    reorder: (order: Order) => Promise<void>,
    options: {
      signal: AbortSignal | undefined;
      onProgress: ((progress: ClientProgress) => void) | undefined;
    },
  ) {
    const signals = [this.#controller.signal, ...(options.signal ? [options.signal] : [])];
    this.#reorder = reorder;
    this.result = start(AbortSignal.any(signals), (progress) => {
      options.onProgress?.(progress);
      for (const listener of this.#listeners) listener(progress);
    }).finally(() => {
      this.#isSettled = true;
      for (const listener of this.#listeners) listener(undefined);
    });
  }

  /** Stops the request, wherever it is. `result` rejects with the reason. */
  cancel(reason: unknown = new DOMException('The generation was cancelled.', 'AbortError')): void {
    this.#controller.abort(reason);
  }

  /** Moves the request in the order. Has no effect once it has settled. */
  reorder(order: Order): Promise<void> {
    return this.#reorder(order);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<ClientProgress, void> {
    const waiting: (ClientProgress | undefined)[] = this.#isSettled ? [undefined] : [];
    let wake = (): void => {};
    const listener = (progress: ClientProgress | undefined): void => {
      waiting.push(progress);
      wake();
    };
    this.#listeners.add(listener);
    try {
      for (;;) {
        while (waiting.length > 0) {
          const progress = waiting.shift();
          if (!progress) return;
          yield progress;
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }
}
