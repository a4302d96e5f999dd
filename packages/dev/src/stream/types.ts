/** What the worker says. */
export type StreamNews =
  | { kind: 'progress'; loaded: number; total: number; cached: number }
  /** All is on the GPU. */
  | { kind: 'loaded'; seconds: number; gpuBytes: number; cachedBytes: number }
  /** How many elements on the GPU differ from what the server generates. */
  | { kind: 'compared'; elements: number; wrong: number }
  | { kind: 'failed'; message: string };

export interface StreamPage {
  /** What the worker said so far. */
  news: StreamNews[];
  start(digest: string): void;
}
