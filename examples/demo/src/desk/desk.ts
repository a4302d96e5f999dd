import { Client, WorkerLink } from '@calotype/scheduler';
import type { ModelManifest } from '../models/bundled.ts';
import type { ModelFacts } from './facts.ts';
import type { DeskService, DeskSource, Reading } from './service.ts';

/**
 * Reads what the form shows of a model: its defaults, and which words of a prompt it knows. In a worker, because a
 * large vocabulary takes longer to parse than a frame lasts.
 */
export class Desk {
  readonly #client = new Client<DeskService>(
    new WorkerLink(
      () => new Worker(new URL('./desk.worker.ts', import.meta.url), { type: 'module', name: 'desk' }),
    ),
  );

  /** @param own whether it is the page's own model, which the service worker keeps */
  open(source: DeskSource, manifest: ModelManifest, own: boolean): Promise<ModelFacts> {
    return this.#client.call('open', { source, manifest, own });
  }

  read(prompt: string): Promise<Reading> {
    return this.#client.call('read', { prompt });
  }
}
