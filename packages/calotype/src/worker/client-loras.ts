import { LoraError } from '../errors.ts';
import type { Lora } from '../lora/index.ts';
import { checkScale } from '../lora/scale.ts';
import type { ActingLora, LoraEvent, SentLora } from './messages.ts';

/** A LoRA by its URL, or as a file. */
export type ClientLoraSource = string | URL | Blob | ArrayBuffer | Uint8Array<ArrayBuffer>;

export interface ClientLoraOptions {
  /** See `LoraOptions`. */
  scale?: number;
  name?: string;
  allowUnmatched?: boolean;
  signal?: AbortSignal;
}

/** Asks the worker to keep a LoRA until the signal aborts. */
type Hold = (lora: SentLora, signal: AbortSignal, onEvent: (event: LoraEvent) => void) => Promise<void>;

interface Loaded {
  lora: Lora & { scale: number };
  sent: SentLora;
  hold: AbortController;
}

/** The LoRAs of one client. They go with each of its requests, so they need not be told of to anybody else. */
export class ClientLoras {
  readonly #hold: Hold;
  #loaded: readonly Loaded[] = [];

  constructor(hold: Hold) {
    this.#hold = hold;
  }

  get loras(): readonly Lora[] {
    return this.#loaded.map(({ lora }) => lora);
  }

  /** What a request that is made now runs with. */
  get acting(): readonly ActingLora[] {
    return this.#loaded.map(({ lora: { scale }, sent }) => ({ ...sent, scale }));
  }

  async load(source: ClientLoraSource, options: ClientLoraOptions = {}): Promise<Lora> {
    const { scale = 1, name, allowUnmatched, signal } = options;
    checkScale(scale);
    signal?.throwIfAborted();
    const sent: SentLora = {
      ...sourceOf(source, allowUnmatched ?? false),
      ...(name !== undefined && { name }),
      ...(allowUnmatched !== undefined && { allowUnmatched }),
    };
    const hold = new AbortController();
    const abort = (): void => hold.abort(signal!.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const found = await new Promise<LoraEvent>((resolve, reject) => {
        this.#hold(sent, hold.signal, resolve).catch(reject);
      });
      const { layers, skipped } = found;
      const loaded: Loaded = { lora: { name: found.name, scale, layers, skipped }, sent, hold };
      this.#loaded = [...this.#loaded, loaded];
      return loaded.lora;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  setScale(lora: Lora, scale: number): void {
    checkScale(scale);
    this.#find(lora).lora.scale = scale;
  }

  unload(lora: Lora): void {
    const found = this.#find(lora);
    this.#loaded = this.#loaded.filter((loaded) => loaded !== found);
    found.hold.abort(new DOMException('The LoRA was unloaded.', 'AbortError'));
  }

  #find(lora: Lora): Loaded {
    const found = this.#loaded.find((loaded) => loaded.lora === lora);
    if (!found) throw new LoraError(lora.name, 'is not loaded here.');
    return found;
  }
}

/** URLs mean the page's, not the worker's; all tabs that name one share it. */
function sourceOf(source: ClientLoraSource, allowUnmatched: boolean): Pick<SentLora, 'id' | 'source'> {
  if (typeof source === 'string' || source instanceof URL) {
    const url = new URL(source, location.href).href;
    return { id: JSON.stringify([url, allowUnmatched]), source: url };
  }
  return { id: crypto.randomUUID(), source: source instanceof Blob ? source : new Blob([source]) };
}
