import { expect, test } from 'vitest';
import { fakeEngine } from '../test/fake-device.ts';
import { model } from '../test/onnx-writer.ts';
import { addAndMultiply } from '../test/tiny-models.ts';
import { createSession, Tensor, type RunTimes, type Session } from './index.ts';

const run = async (session: Session): Promise<void> => {
  const x = new Tensor('float32', [2, 3], new Float32Array(6));
  for (const tensor of Object.values(await session.run({ x }))) tensor.dispose();
};

test('whoever watches an engine is told what every run of every session took, until it looks away', async () => {
  const { engine, device } = await fakeEngine({ features: ['timestamp-query'] });
  using session = await createSession(model(addAndMultiply), { engine });
  await run(session);
  const told: RunTimes[] = [];
  engine.onDispatches = (times) => told.push(times);
  await run(session);
  await run(session);
  await expect.poll(() => told.length).toBe(2);
  const { steps } = await session.plan();
  const dispatches = steps.filter((step) => step.kind === 'dispatch' && step.phase !== 'load');
  for (const { dispatches: times } of told) {
    expect(times.length).toBe(dispatches.length);
    // The fake device's timestamps are a microsecond apart, two to a dispatch.
    expect(times.map(({ startMicroseconds, microseconds }) => [startMicroseconds, microseconds])).toEqual(
      times.map((_, i) => [2 * i, 1]),
    );
  }
  expect(told[1]!.submitted).toBeGreaterThanOrEqual(told[0]!.submitted);
  engine.onDispatches = undefined;
  const live = device.live.size;
  await run(session);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(told.length).toBe(2);
  expect(device.live.size).toBe(live);
});

test('without timestamps nothing is told, and runs go on', async () => {
  const { engine } = await fakeEngine();
  using session = await createSession(model(addAndMultiply), { engine });
  engine.onDispatches = () => expect.unreachable();
  await run(session);
});
