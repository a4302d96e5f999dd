import { toChromeTrace } from './chrome-trace.ts';
import { BUSY_TRACK, GPU_TRACK, isRequestTrack, type ChromeTrace, type Span } from './span.ts';

/** Spans recorded. Plain data apart from its methods, so that it can be sent. */
export class Trace {
  readonly spans: Span[] = [];
  /** When it began. */
  readonly start: number;

  constructor(start: number = performance.now()) {
    this.start = start;
  }

  add(span: Span): void {
    this.spans.push(span);
  }

  /**
   * Share of the time with requests in which the GPU had nothing to do; 0 where nothing was recorded. By the GPU's clock
   * where that was recorded; else it counts as busy while the CPU encodes a step.
   */
  get gpuIdleShare(): number {
    return gpuIdleShare(this.spans);
  }

  /** The trace as JSON that chrome://tracing and ui.perfetto.dev open. */
  toChromeTrace(): ChromeTrace {
    return toChromeTrace(this.spans, this.start);
  }
}

/** See `Trace.gpuIdleShare`. */
export function gpuIdleShare(spans: readonly Span[]): number {
  const loaded = merge(spans.filter(({ track }) => isRequestTrack(track)));
  const clocked = spans.filter(({ track }) => track === BUSY_TRACK);
  const busy = merge(clocked.length > 0 ? clocked : spans.filter(({ track }) => track === GPU_TRACK));
  const total = loaded.reduce((sum, [start, end]) => sum + end - start, 0);
  if (total === 0) return 0;
  let working = 0;
  let first = 0;
  for (const [start, end] of loaded) {
    while (first < busy.length && busy[first]![1] <= start) first++;
    for (let i = first; i < busy.length && busy[i]![0] < end; i++) {
      working += Math.min(end, busy[i]![1]) - Math.max(start, busy[i]![0]);
    }
  }
  return 1 - working / total;
}

/** Intervals in which at least one of the spans is open. */
function merge(spans: readonly Span[]): [number, number][] {
  const merged: [number, number][] = [];
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}
