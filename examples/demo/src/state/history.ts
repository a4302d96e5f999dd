import { signal } from '@preact/signals';
import { createStore, delMany, entries, set, type UseStore } from 'idb-keyval';
import type { Plate } from './plate.ts';

/** Pictures that are kept; the oldest make room for new ones. */
export const HISTORY_LIMIT = 48;

/** Earlier pictures, newest first. */
export const history = signal<readonly Plate[]>([]);

/** A plate without what lives only as long as the page. */
type Stored = Omit<Plate, 'url'>;

let store: UseStore | undefined;

/** Reads what earlier visits left. */
export async function openHistory(): Promise<void> {
  try {
    store = createStore('calotype-demo', 'plates');
    const found = await entries<string, Stored>(store);
    const earlier = found
      .map(([, plate]) => ({ ...plate, url: URL.createObjectURL(plate.blob) }))
      .toSorted((a, b) => b.madeAt - a.madeAt);
    history.value = [...history.value, ...earlier];
  } catch {
    // Private windows may refuse storage: history then lasts as long as the page.
    store = undefined;
  }
}

/** Adds a picture, and lets go of the oldest beyond the limit. */
export async function keep(plate: Plate): Promise<void> {
  const all = [plate, ...history.value];
  history.value = all.slice(0, HISTORY_LIMIT);
  const dropped = all.slice(HISTORY_LIMIT);
  const { url: _, ...stored } = plate;
  await write(async (to) => {
    await set(plate.id, stored, to);
    await delMany(
      dropped.map(({ id }) => id),
      to,
    );
  });
}

/** Removes pictures for good. */
export async function forget(plates: readonly Plate[]): Promise<void> {
  const ids = new Set(plates.map(({ id }) => id));
  history.value = history.value.filter(({ id }) => !ids.has(id));
  await write((to) => delMany([...ids], to));
}

async function write(task: (to: UseStore) => Promise<void>): Promise<void> {
  if (!store) return;
  try {
    await task(store);
  } catch {
    // A full disk costs the memory of a picture, not the picture.
  }
}
