/** A span of time on a track, in milliseconds of `performance.now()` of the thread that recorded it. */
export interface Span {
  /** Lane it is drawn in: `gpu`, `request 3`, … */
  track: string;
  name: string;
  start: number;
  end: number;
  args?: Record<string, unknown>;
}

/**
 * An event of Chrome's trace format, which Perfetto opens too: `X` is a span, `b` and `e` are the ends of one on a track where
 * spans overlap, `s` and `f` those of an arrow from a request to its step on the GPU, `M` names processes and threads.
 */
export interface TraceEvent {
  name: string;
  ph: 'X' | 'b' | 'e' | 's' | 'f' | 'M';
  pid: number;
  tid: number;
  /** Microseconds. */
  ts: number;
  dur?: number;
  cat?: string;
  id?: string;
  /** Arrows end at the span around their end, not at the next one. */
  bp?: 'e';
  args?: Record<string, unknown>;
}

export interface ChromeTrace {
  traceEvents: TraceEvent[];
  displayTimeUnit: 'ms';
}

/** Track of the GPU's work, step by step, from the moment that the CPU begins to encode a step on an idle GPU. */
export const GPU_TRACK = 'gpu';

/** Track of the times at which the GPU had work, by its own clock. */
export const BUSY_TRACK = 'gpu busy';

/** Track of the kernels that those steps are made of. */
export const KERNEL_TRACK = 'gpu kernels';

/** Track of what is written to the GPU and read back. */
export const TRANSFER_TRACK = 'gpu transfers';

/** Track of the thread beside the GPU's: how long each call of it took, messages included. */
export const THREAD_TRACK = 'cpu worker';

const ownTracks: ReadonlySet<string> = new Set([
  GPU_TRACK,
  BUSY_TRACK,
  KERNEL_TRACK,
  TRANSFER_TRACK,
  THREAD_TRACK,
]);

/** Whether a track is a request's. */
export function isRequestTrack(track: string): boolean {
  return !ownTracks.has(track);
}
