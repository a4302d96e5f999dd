/** A span of time on a track, in milliseconds of `performance.now()` of the thread that recorded it. */
export interface Span {
  /** Lane it is drawn in: `gpu`, `request 3`, … */
  track: string;
  name: string;
  start: number;
  end: number;
  args?: Record<string, unknown>;
}

/** An event of Chrome's trace format (Perfetto opens it): `X` is a span, `M` names a thread. */
export interface TraceEvent {
  name: string;
  ph: 'X' | 'M';
  pid: number;
  tid: number;
  /** Microseconds. */
  ts: number;
  dur?: number;
  args?: Record<string, unknown>;
}

export interface ChromeTrace {
  traceEvents: TraceEvent[];
  displayTimeUnit: 'ms';
}

/** Track of the GPU's work, step by step. */
export const GPU_TRACK = 'gpu';

/** Track of the kernels that those steps are made of. */
export const KERNEL_TRACK = 'gpu kernels';

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
   * Share of the time between the first request's arrival and the last one's end in which the GPU had nothing to do;
   * 0 where nothing was recorded.
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
  const loaded = merge(spans.filter(({ track }) => track !== GPU_TRACK && track !== KERNEL_TRACK));
  const busy = merge(spans.filter(({ track }) => track === GPU_TRACK));
  const total = loaded.reduce((sum, [start, end]) => sum + end - start, 0);
  if (total === 0) return 0;
  let working = 0;
  for (const [start, end] of loaded) {
    for (const [from, to] of busy) working += Math.max(0, Math.min(end, to) - Math.max(start, from));
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

/** Spans as JSON that chrome://tracing and ui.perfetto.dev open: the GPU first, then the other tracks as they begin. */
export function toChromeTrace(spans: readonly Span[], origin: number): ChromeTrace {
  const tracks = [...new Set([GPU_TRACK, ...spans.map(({ track }) => track)])];
  const names = tracks.map((name, tid): TraceEvent => ({
    name: 'thread_name',
    ph: 'M',
    pid: 1,
    tid,
    ts: 0,
    args: { name },
  }));
  const events = spans.map(({ track, name, start, end, args }): TraceEvent => ({
    name,
    ph: 'X',
    pid: 1,
    tid: tracks.indexOf(track),
    ts: Math.round((start - origin) * 1000),
    dur: Math.max(0, Math.round((end - start) * 1000)),
    ...(args && { args }),
  }));
  return { traceEvents: [...names, ...events], displayTimeUnit: 'ms' };
}
