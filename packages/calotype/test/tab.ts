import { TextToImageClient } from '../src/index.ts';

/** What the tests of several tabs find in each. */
export interface Tab {
  TextToImageClient: typeof TextToImageClient;
  /** A worker of that tab for an engine that makes checkpoints often. */
  worker: () => Worker;
}

declare global {
  interface Window {
    calotypeTab?: Tab;
  }
}

globalThis.window.calotypeTab = {
  TextToImageClient,
  worker: () =>
    new Worker(new URL('./checkpoint-worker.ts', import.meta.url), { type: 'module', name: 'calotype' }),
};
