import { beforeAll } from 'vitest';
import { Engine } from '../src/gpu/engine.ts';
import type { Precision } from '../src/plan/capabilities.ts';

let shared: Promise<Engine> | undefined;

/**
 * The engine of this page, which ends with it. The test files of a page share their modules (`isolate` in
 * vitest.config.ts) and with this engine what it has compiled, which is most of what they take. Tests that lose a device
 * or change its budget make one of their own.
 */
export function pageEngine(): Promise<Engine> {
  shared ??= Engine.create({ precision: 'f32' });
  return shared;
}

/**
 * One more engine on the page's device, which has most kernels, or keeps them for others: with budgets and counters of its own.
 * Whoever asks disposes of it.
 */
export async function engineBeside(): Promise<Engine> {
  const { device } = await pageEngine();
  return Engine.create({ device, precision: 'f32' });
}

/** The page's engine for a file of cases: there before the first test, in all precisions. */
export function openEngine(): () => Engine {
  let engine: Engine;
  beforeAll(async () => void (engine = await pageEngine()));
  return () => engine;
}

/** Every second case: of those whose kernels have nothing of their own in another precision, the other half runs there. */
export function byTurns<T>(precision: Precision, cases: readonly T[]): T[] {
  return cases.filter((_, i) => (i % 2 === 0) === (precision === 'f32'));
}
