import { expect, test } from 'vitest';
import { random } from '../../test/run-graph.ts';
import { planMemory } from './memory.ts';
import type { Dispatch, Phase, PlanBuffer } from './plan.ts';

const buffer = (
  bytes: number,
  phase: Phase = 'run',
  content: PlanBuffer['content'] = { kind: 'computed' },
): PlanBuffer => ({
  label: `${bytes}`,
  bytes,
  phase,
  content,
});

const step = (reads: number[], writes: number[], phase: Phase = 'run'): Dispatch => ({
  kind: 'dispatch',
  label: '',
  kernel: {
    name: '',
    code: '',
    bindings: [...reads.map(() => 'read' as const), ...writes.map(() => 'write' as const)],
  },
  buffers: [...reads, ...writes],
  params: new Uint8Array(),
  grid: [1, 1, 1],
  phase,
  work: { flops: 0, bytes: 0 },
});

test('a chain takes two buffers', () => {
  const buffers = [64, 64, 64, 64, 64].map((bytes) => buffer(bytes));
  const { intermediateBytes, steps } = planMemory(
    buffers,
    [0, 1, 2, 3].map((i) => step([i], [i + 1])),
  );
  expect(intermediateBytes).toBe(128);
  for (const { buffers: bound } of steps as Dispatch[]) expect(new Set(bound).size).toBe(2);
});

test('what the request phase leaves is not overwritten by runs', () => {
  const buffers = [buffer(64, 'request'), buffer(64), buffer(64)];
  const { moved } = planMemory(buffers, [step([], [0], 'request'), step([0], [1]), step([1], [2])]);
  expect(moved[0]).not.toBe(moved[1]);
  expect(moved[0]).not.toBe(moved[2]);
});

test('unused buffers vanish, outputs stay', () => {
  const buffers = [buffer(64), buffer(16, 'run', { kind: 'output', name: 'y' })];
  expect(planMemory(buffers, []).moved).toEqual([undefined, 0]);
});

test('random graphs: no buffer is shared by values alive together, and sharing saves memory', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const numbers = random(400, seed).map((x) => (x + 1) / 2);
    let next = 0;
    const pick = (below: number): number => Math.floor(numbers[next++ % numbers.length]! * below);
    const buffers = Array.from({ length: 30 }, () => buffer(16 * (1 + pick(64))));
    const steps = buffers.slice(1).map((_, i) => step([...new Set([pick(i + 1), pick(i + 1)])], [i + 1]));
    const { moved, intermediateBytes, buffers: shared } = planMemory(buffers, steps);
    const lastUse = buffers.map((_, id) => steps.findLastIndex(({ buffers: bound }) => bound.includes(id)));
    for (const [id, slot] of moved.entries()) {
      if (slot === undefined) continue;
      expect(shared[slot]!.bytes).toBeGreaterThanOrEqual(buffers[id]!.bytes);
      const born = Math.max(0, id - 1);
      for (let other = 0; other < id; other++) {
        if (moved[other] === slot) expect(lastUse[other]).toBeLessThan(born);
      }
    }
    const total = buffers.reduce((sum, { bytes }, id) => sum + (moved[id] === undefined ? 0 : bytes), 0);
    expect(intermediateBytes).toBeLessThan(total);
    expect(intermediateBytes).toBe(shared.reduce((sum, { bytes }) => sum + bytes, 0));
  }
});
