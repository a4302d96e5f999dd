import { expect, test } from 'vitest';
import { ticks, timelineRows } from './timeline-rows.ts';

const span = (track: string, name: string, start: number, end: number, requests?: string[]) => ({
  track,
  name,
  start: 1000 + start,
  end: 1000 + end,
  ...(requests && { args: { requests } }),
});

test('draws shared GPU steps in the rows of all requests that shared them', () => {
  const { rows, length } = timelineRows([
    span('cat', 'queued', 0, 10),
    span('gpu', 'encode', 10, 20, ['cat']),
    span('cat', 'encode', 10, 22),
    span('gpu', 'denoise', 20, 50, ['cat', 'dog']),
    span('dog', 'wait for denoise', 12, 20),
    span('dog', 'image', 60, 70),
    span('dog', 'request', 0, 70),
  ]);
  expect(length).toBe(70);
  expect(rows.map(({ track }) => track)).toEqual(['gpu', 'cat', 'dog']);
  expect(rows[1]!.bars).toEqual([
    { kind: 'wait', start: 0, end: 10 },
    { kind: 'encode', start: 10, end: 20 },
    { kind: 'denoise', start: 20, end: 50 },
  ]);
  expect(rows[2]!.bars.map(({ kind }) => kind)).toEqual(['denoise', 'wait', 'image']);
});

test('puts round times on the axis', () => {
  expect(ticks(0)).toEqual([]);
  expect(ticks(930)).toEqual([0, 200, 400, 600, 800]);
  expect(ticks(12_000)).toEqual([0, 5000, 10_000]);
});
