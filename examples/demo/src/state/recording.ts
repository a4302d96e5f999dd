import { signal } from '@preact/signals';
import { toChromeTrace } from '@calotype/scheduler';
import type { Span, TextToImageClient, Trace } from 'calotype';

/** What the engine did, on its own clock. */
export interface Recording {
  spans: readonly Span[];
  /** Milliseconds; when it began. */
  start: number;
}

/** Milliseconds between looks at what has been recorded. */
const EVERY = 400;

/** What is recorded now, or was last. */
export const recording = signal<Recording | undefined>(undefined);

let source: TextToImageClient | undefined;
let timer: ReturnType<typeof setInterval> | undefined;
/** Looks follow one another, or spans would change places. */
let last: Promise<void> = Promise.resolve();

/** Records anew, unless it records already. */
export function beginRecording(client: TextToImageClient): Promise<void> {
  if (source === client) return last;
  clearInterval(timer);
  source = client;
  recording.value = undefined;
  last = client.startRecording().catch(() => {});
  timer = setInterval(() => {
    last = last.then(async () => add(client, await client.takeRecording())).catch(() => {});
  }, EVERY);
  return last;
}

/** Takes what is left, and stops. */
export function endRecording(): void {
  const client = source;
  if (!client) return;
  clearInterval(timer);
  source = undefined;
  // A client that is gone has nothing to tell any more; what was drawn stays.
  last = last.then(async () => add(client, await client.stopRecording())).catch(() => {});
}

function add(client: TextToImageClient, taken: Trace | undefined): void {
  // The next recording may have begun.
  if (!taken || (source && source !== client)) return;
  const { spans, start } = recording.value ?? { spans: [], start: taken.start };
  if (taken.spans.length > 0 || !recording.value) {
    recording.value = { spans: [...spans, ...taken.spans], start };
  }
}

/** The recording as a file for ui.perfetto.dev or chrome://tracing. */
export function chromeTraceFile({ spans, start }: Recording): File {
  const json = JSON.stringify(toChromeTrace(spans, start));
  return new File([json], 'calotype-trace.json', { type: 'application/json' });
}
