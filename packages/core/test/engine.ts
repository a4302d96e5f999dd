import { afterAll, beforeAll } from 'vitest';
import { Engine } from '../src/gpu/engine.ts';
import type { Precision } from '../src/plan/capabilities.ts';

/** One engine from the first test of a file to its last. Tests of all precisions share it, and with it compiled kernels. */
export function openEngine(): () => Engine {
  let engine: Engine;
  beforeAll(async () => void (engine = await Engine.create({ precision: 'f32' })));
  afterAll(() => engine.dispose());
  return () => engine;
}

/** Every second case: of those whose kernels have nothing of their own in another precision, the other half runs there. */
export function byTurns<T>(precision: Precision, cases: readonly T[]): T[] {
  return cases.filter((_, i) => (i % 2 === 0) === (precision === 'f32'));
}
