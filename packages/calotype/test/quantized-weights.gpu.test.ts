import { type Engine, type InputShapes, type Session, type WeightFormat } from '@calotype/core';
import { beforeAll, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { DiffusionModel } from '../src/index.ts';

let engine: Engine;

beforeAll(async () => void (engine = await pageEngine()));
const free: Readonly<Record<string, number>> = { batch: 1, sequence: 77, height: 16, width: 16 };

/** The formats that a session's weights have, for its smallest sizes. */
async function formatsOf(session: Session): Promise<string[]> {
  const shapes: InputShapes = Object.fromEntries(
    session.inputs.map(({ name, shape }) => [
      name,
      shape!.map((dim) => (typeof dim === 'number' ? dim : (free[dim!] ?? 1))),
    ]),
  );
  const { quantized } = await session.plan(shapes);
  return [...new Set(quantized.map(({ format }) => format))];
}

test.each<[string, WeightFormat | Record<string, WeightFormat>, string[]]>([
  ['one format for all', 'int8', ['int8 in blocks of 64, made at load']],
  ['by component', { unet: 'int4' }, ['int4 in blocks of 32, made at load']],
  ['of another component', { text_encoder: 'int4' }, []],
])('weights: %s', async (_, weights, expected) => {
  const model = await DiffusionModel.load('/fixtures/tiny-sd/', { engine, weights });
  try {
    expect(await formatsOf(model.denoiser)).toEqual(expected);
  } finally {
    model.dispose();
  }
});
