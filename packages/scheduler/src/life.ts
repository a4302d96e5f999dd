const prefix = 'calotype-life:';

/** A sign of life that other threads can wait for the end of. */
export interface Life {
  readonly id: string;
  /** Gives the sign up. It ends with the page or worker anyway, however that ends. */
  end(): void;
}

/**
 * Begins a life: a Web Lock that is held as long as this page or worker exists. Browsers release it when a tab is closed,
 * a worker terminated or a process killed, which no event tells of.
 */
export async function beginLife(): Promise<Life> {
  const id = crypto.randomUUID();
  const { locks } = navigator as Partial<Navigator>;
  // Node, and pages that are not secure: then nobody hears of the end.
  if (!locks) return { id, end: () => {} };
  return new Promise((resolve, reject) => {
    const held = locks.request(prefix + id, () => new Promise<void>((end) => resolve({ id, end })));
    held.catch(reject);
  });
}

/**
 * Calls `onEnd` when the life has ended.
 *
 * @returns stops waiting
 */
export function whenLifeEnds(id: string, onEnd: () => void): () => void {
  const { locks } = navigator as Partial<Navigator>;
  const controller = new AbortController();
  const { signal } = controller;
  // Shared: all who wait hear of it at once.
  locks
    ?.request(prefix + id, { signal, mode: 'shared' }, () => {
      if (!signal.aborted) onEnd();
    })
    .catch(() => {});
  return () => controller.abort();
}
