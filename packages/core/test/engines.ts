import { afterAll, beforeAll } from 'vitest';
import { Engine } from '../src/gpu/engine.ts';
import type { Precision } from '../src/plan/capabilities.ts';

/** Engines of the precisions that every adapter has, from the first test of a file to its last. */
export function openEngines(): ReadonlyMap<Precision, Engine> {
  const engines = new Map<Precision, Engine>();
  beforeAll(async () => {
    for (const precision of ['f32', 'packed-f16'] as const)
      engines.set(precision, await Engine.create({ precision }));
  });
  afterAll(() => engines.forEach((engine) => engine.dispose()));
  return engines;
}
