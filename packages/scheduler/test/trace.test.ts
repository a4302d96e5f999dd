import { expect, test } from 'vitest';
import { gpuIdleShare, toChromeTrace, type ChromeTrace, type Span } from '../src/index.ts';
import { chromeTraceFaults } from './check-chrome-trace.ts';

const spans: Span[] = [
  { track: 'fox', name: 'queued', start: 100, end: 105 },
  { track: 'fox', name: 'denoise', start: 105, end: 140 },
  { track: 'fox', name: 'request', start: 100, end: 150 },
  { track: 'gpu', name: 'denoise', start: 110.0004, end: 120.0006, args: { requests: ['fox', 'not here'] } },
  { track: 'gpu', name: 'denoise', start: 120.0006, end: 130, args: { requests: ['fox'] } },
  // Reads overlap.
  { track: 'cpu worker', name: 'read', start: 90, end: 102, args: { bytes: 5 } },
  { track: 'cpu worker', name: 'read', start: 95, end: 108, args: { bytes: 7 } },
];

function changed(change: (events: ChromeTrace['traceEvents']) => void): string[] {
  const trace = structuredClone(toChromeTrace(spans, 100));
  change(trace.traceEvents);
  return chromeTraceFaults(trace);
}

test('a trace keeps the rules of the format: spans nest or are asynchronous, arrows are bound to spans', () => {
  const trace = toChromeTrace(spans, 100);
  expect(chromeTraceFaults(trace)).toEqual([]);
  const of = (phase: string): ChromeTrace['traceEvents'] =>
    trace.traceEvents.filter(({ ph }) => ph === phase);
  expect(of('X').map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
    ['denoise', 20_000, 10_001],
    ['denoise', 30_001, 9_999],
    ['request', 10_000, 50_000],
    ['queued', 10_000, 5_000],
    ['denoise', 15_000, 35_000],
  ]);
  // What began before the recording is where 0 is.
  expect(of('b').map(({ ts, cat }) => [ts, cat])).toEqual([
    [0, 'cpu worker'],
    [5_000, 'cpu worker'],
  ]);
  expect(of('s').length).toBe(2);
});

test('the checker finds what breaks those rules', () => {
  expect(changed((events) => (events[0]!.name = 'x'))).not.toEqual([]);
  expect(
    changed((events) => void events.push({ name: 'a', ph: 'X', pid: 1, tid: 99, ts: 0, dur: 1 })),
  ).not.toEqual([]);
  expect(
    changed((events) => void events.push({ name: 'a', ph: 'X', pid: 1, tid: 0, ts: 25_000, dur: 9_000 })),
  ).not.toEqual([]);
  for (const [ph, change] of [
    ['X', { dur: -1 }],
    ['X', { ts: NaN }],
    ['X', { ts: -5 }],
    ['b', { id: 'other' }],
    ['e', { ts: 0 }],
    ['s', { ts: 0 }],
    ['f', { bp: undefined }],
  ] as const) {
    const faults = changed((events) => {
      const found = events.findLast((event) => event.ph === ph)!;
      Object.assign(found, change);
    });
    expect(faults, `${ph} ${JSON.stringify(change)}`).not.toEqual([]);
  }
});

test("idle is what requests see of the GPU's own clock, where it was recorded", () => {
  expect(gpuIdleShare(spans)).toBeCloseTo(1 - 19.9996 / 50, 3);
  const clocked: Span[] = [
    ...spans,
    { track: 'gpu busy', name: 'busy', start: 95, end: 101 },
    { track: 'gpu busy', name: 'busy', start: 110, end: 130 },
    { track: 'gpu busy', name: 'busy', start: 149, end: 170 },
  ];
  expect(gpuIdleShare(clocked)).toBeCloseTo(1 - (1 + 20 + 1) / 50, 6);
});
