import { isRequestTrack, type Span } from 'calotype';

/** A bar of a row, in milliseconds from the recording's first span. */
export interface Bar {
  /** Stage, or `wait`. */
  kind: string;
  start: number;
  end: number;
}

export interface Row {
  track: string;
  bars: Bar[];
}

export interface Rows {
  /** What the GPU did first, then a row a request in the order of their arrival. */
  rows: Row[];
  /** Milliseconds from the first span's start to the last one's end. */
  length: number;
}

/** Track of the GPU's steps, each with the names of the requests that shared it. */
const GPU = 'gpu';

/**
 * Rows to draw. A request's GPU stages are drawn step by step from the GPU's track, which also has those of stages that
 * are not finished; its other stages and its waiting come from its own track.
 */
export function timelineRows(spans: readonly Span[]): Rows {
  const rows = new Map<string, Row>([[GPU, { track: GPU, bars: [] }]]);
  const rowOf = (track: string): Row => {
    let row = rows.get(track);
    if (!row) rows.set(track, (row = { track, bars: [] }));
    return row;
  };
  const origin = spans.reduce((least, { start }) => Math.min(least, start), Infinity);
  const onGpu = new Set(spans.filter(({ track }) => track === GPU).map(({ name }) => name));
  let length = 0;
  for (const { track, name, start, end, args } of spans) {
    const bar = { kind: kindOf(name), start: start - origin, end: end - origin };
    length = Math.max(length, bar.end);
    if (track === GPU) {
      rowOf(GPU).bars.push(bar);
      for (const request of (args?.['requests'] ?? []) as string[]) rowOf(request).bars.push(bar);
    } else if (isRequestTrack(track) && name !== 'request' && !onGpu.has(name)) rowOf(track).bars.push(bar);
  }
  return { rows: [...rows.values()], length };
}

function kindOf(name: string): string {
  if (name === 'message' || name === 'queued' || name.startsWith('wait for ')) return 'wait';
  return name === 'prepare' ? 'encode' : name;
}

/** Round times for an axis of `length` milliseconds, at most six. */
export function ticks(length: number): number[] {
  if (!(length > 0)) return [];
  const rough = length / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough)!;
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => index * step);
}
