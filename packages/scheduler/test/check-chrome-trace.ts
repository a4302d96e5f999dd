import type { ChromeTrace, TraceEvent } from '../src/index.ts';

/**
 * What is wrong with a trace by the rules of Chrome's "Trace Event Format" document, as far as they concern the phases that are
 * used here; empty where nothing is. Perfetto drops or misplaces what breaks them.
 */
export function chromeTraceFaults(trace: ChromeTrace): string[] {
  const faults: string[] = [];
  const fault = (event: TraceEvent | undefined, what: string): void =>
    void faults.push(`${what}: ${JSON.stringify(event)}`);
  if (JSON.stringify(JSON.parse(JSON.stringify(trace))) !== JSON.stringify(trace)) {
    fault(undefined, 'is not the same after JSON');
  }
  if (!['ms', 'ns'].includes(trace.displayTimeUnit)) fault(undefined, 'displayTimeUnit');
  const threads = new Map<string, TraceEvent[]>();
  const names = new Map<string, number>();
  for (const event of trace.traceEvents) {
    const { name, ph, pid, tid, ts, dur, args } = event;
    if (typeof name !== 'string' || name === '') fault(event, 'has no name');
    if (!Number.isInteger(pid) || !Number.isInteger(tid)) fault(event, 'pid and tid are no integers');
    if (!Number.isFinite(ts) || ts < 0) fault(event, 'ts is no time');
    if (args !== undefined && (typeof args !== 'object' || Array.isArray(args))) fault(event, 'args');
    const thread = `${pid} ${tid}`;
    switch (ph) {
      case 'X':
        if (!Number.isFinite(dur) || dur! < 0) fault(event, 'dur is no duration');
        threads.set(thread, [...(threads.get(thread) ?? []), event]);
        break;
      case 'M': {
        const [wanted, type] =
          {
            process_name: ['name', 'string'],
            thread_name: ['name', 'string'],
            thread_sort_index: ['sort_index', 'number'],
          }[name] ?? [];
        if (!wanted || typeof args?.[wanted] !== type) fault(event, 'metadata');
        const key = name === 'process_name' ? `${name} ${pid}` : `${name} ${thread}`;
        names.set(key, (names.get(key) ?? 0) + 1);
        break;
      }
      case 'b':
      case 'e':
      case 's':
      case 'f':
        if (typeof event.id !== 'string' || typeof event.cat !== 'string') fault(event, 'has no id or cat');
        break;
      default:
        fault(event, 'ph is none that is used');
    }
  }
  for (const [key, count] of names) if (count > 1) faults.push(`${key} is said ${count} times`);
  for (const event of trace.traceEvents) {
    if (!names.has(`process_name ${event.pid}`)) fault(event, 'its process has no name');
    const isNamed = names.has(`thread_name ${event.pid} ${event.tid}`);
    if (!isNamed && event.name !== 'process_name') fault(event, 'its thread has no name');
  }
  for (const events of threads.values()) faults.push(...nestingFaults(events));
  faults.push(...pairFaults(trace.traceEvents, threads));
  return faults;
}

/** Spans of a thread that overlap without one holding the other. */
function nestingFaults(events: readonly TraceEvent[]): string[] {
  const ends = ({ ts, dur }: TraceEvent): number => ts + dur!;
  const sorted = events.toSorted((a, b) => a.ts - b.ts || ends(b) - ends(a));
  const faults: string[] = [];
  const open: TraceEvent[] = [];
  for (const event of sorted) {
    while (open.length > 0 && ends(open.at(-1)!) <= event.ts) open.pop();
    const outer = open.at(-1);
    if (outer && ends(event) > ends(outer)) {
      faults.push(`crosses ${JSON.stringify(outer)}: ${JSON.stringify(event)}`);
    }
    open.push(event);
  }
  return faults;
}

/** Asynchronous spans and arrows with one end, or whose end comes first; arrows that are bound to no span. */
function pairFaults(
  events: readonly TraceEvent[],
  threads: ReadonlyMap<string, readonly TraceEvent[]>,
): string[] {
  const faults: string[] = [];
  const isBound = ({ pid, tid, ts }: TraceEvent): boolean =>
    (threads.get(`${pid} ${tid}`) ?? []).some((span) => span.ts <= ts && ts <= span.ts + span.dur!);
  for (const [begin, end] of [
    ['b', 'e'],
    ['s', 'f'],
  ] as const) {
    const pairs = new Map<string, TraceEvent[]>();
    for (const event of events) {
      if (event.ph !== begin && event.ph !== end) continue;
      const key = JSON.stringify([event.cat, event.id, event.name]);
      pairs.set(key, [...(pairs.get(key) ?? []), event]);
    }
    for (const [key, pair] of pairs) {
      const [first, last] = pair;
      const isPair = pair.length === 2 && first!.ph === begin && last!.ph === end && first!.ts <= last!.ts;
      if (!isPair) faults.push(`${begin} and ${end} of ${key} are no pair`);
      if (begin !== 's') continue;
      if (!pair.every(isBound)) faults.push(`arrow ${key} begins or ends at no span`);
      if (last?.bp !== 'e') faults.push(`arrow ${key} ends at the next span, not at the one around it`);
    }
  }
  return faults;
}
