import { GPU_TRACK, isRequestTrack, type ChromeTrace, type Span, type TraceEvent } from './span.ts';

const PID = 1;

/**
 * Spans as JSON that chrome://tracing and ui.perfetto.dev open ("Trace Event Format"): the GPU first, then the other tracks as they
 * begin. Spans of one thread must nest there; those of tracks where they do not are written as asynchronous ones.
 *
 * @param origin time that becomes 0, unless a span began before
 */
export function toChromeTrace(spans: readonly Span[], origin: number): ChromeTrace {
  const zero = spans.reduce((least, { start }) => Math.min(least, start), origin);
  const at = (time: number): number => Math.round((time - zero) * 1000);
  const tracks = new Map<string, Span[]>([[GPU_TRACK, []]]);
  for (const span of spans) tracks.set(span.track, [...(tracks.get(span.track) ?? []), span]);
  const events: TraceEvent[] = [metadata('process_name', 0, { name: 'Calotype' })];
  const nesting = new Map<string, { tid: number; spans: Span[] }>();
  for (const [tid, [track, own]] of [...tracks].entries()) {
    events.push(
      metadata('thread_name', tid, { name: track }),
      metadata('thread_sort_index', tid, { sort_index: tid }),
    );
    const sorted = own.toSorted((a, b) => at(a.start) - at(b.start) || at(b.end) - at(a.end));
    const nests = isNested(sorted, at);
    if (nests) nesting.set(track, { tid, spans: sorted });
    for (const [index, { name, start, end, args }] of sorted.entries()) {
      const common = { name, pid: PID, tid, ts: at(start), ...(args && { args }) };
      if (nests) events.push({ ...common, ph: 'X', dur: Math.max(0, at(end) - at(start)) });
      else {
        const identity = { cat: track, id: `${tid}.${index}` };
        events.push({ ...common, ...identity, ph: 'b' });
        events.push({ ...identity, name, pid: PID, tid, ts: Math.max(at(start), at(end)), ph: 'e' });
      }
    }
  }
  return { traceEvents: [...events, ...arrows(nesting, at)], displayTimeUnit: 'ms' };
}

/** From each request to the steps that the GPU did for it. */
function arrows(
  tracks: ReadonlyMap<string, { tid: number; spans: readonly Span[] }>,
  at: (time: number) => number,
): TraceEvent[] {
  const gpu = tracks.get(GPU_TRACK);
  const events: TraceEvent[] = [];
  for (const [index, { start, args }] of (gpu?.spans ?? []).entries()) {
    for (const request of (args?.['requests'] ?? []) as readonly string[]) {
      const from = isRequestTrack(request) ? tracks.get(request) : undefined;
      // Spans of requests that are not done may not be there yet: an arrow needs one at both ends.
      const ts = at(start);
      if (!from?.spans.some((span) => at(span.start) <= ts && ts <= at(span.end))) continue;
      const arrow = { name: 'step', cat: 'step', id: `${from.tid}.${index}`, pid: PID, ts };
      events.push({ ...arrow, ph: 's', tid: from.tid }, { ...arrow, ph: 'f', bp: 'e', tid: gpu!.tid });
    }
  }
  return events;
}

/** Whether of any two spans one holds the other or they do not meet. They come by start, longer ones first. */
function isNested(sorted: readonly Span[], at: (time: number) => number): boolean {
  const open: number[] = [];
  for (const { start, end } of sorted) {
    while (open.length > 0 && open.at(-1)! <= at(start)) open.pop();
    if (open.length > 0 && at(end) > open.at(-1)!) return false;
    open.push(at(end));
  }
  return true;
}

function metadata(name: string, tid: number, args: Record<string, unknown>): TraceEvent {
  return { name, ph: 'M', pid: PID, tid, ts: 0, args };
}
