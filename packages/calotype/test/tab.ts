import { TextToImageClient } from '../src/index.ts';

/** What the tests of several tabs find in each. */
export interface Tab {
  TextToImageClient: typeof TextToImageClient;
}

declare global {
  interface Window {
    calotypeTab?: Tab;
  }
}

globalThis.window.calotypeTab = { TextToImageClient };
