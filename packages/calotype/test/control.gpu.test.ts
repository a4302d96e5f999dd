import type { Engine } from '@calotype/core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { engineBeside } from '../../core/test/engine.ts';
import { DiffusionEngine, type ClientProgress, type ModelSpec } from '../src/index.ts';
import type { GenerateInput } from '../src/worker/messages.ts';

const model: ModelSpec = {
  source: new URL('/fixtures/tiny-sd/', location.href).href,
  precision: 'f32',
  warmUp: { width: 64, height: 64 },
};

let engine: Engine;
let served: DiffusionEngine;
let requests = 0;
const holding = new AbortController();

function context(signal: AbortSignal, emit: (progress: ClientProgress) => void = () => {}) {
  return { signal, client: 'page', emit, resume: undefined, keep: () => {} };
}

beforeAll(async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  served = new DiffusionEngine({
    cpuLink: () => {
      throw new Error('this test wants none');
    },
    createEngine: async () => (engine = await engineBeside()),
    // Reads back too, in runs of more than a second.
    checkpointMs: Infinity,
  });
  await new Promise<void>((ready, failed) => {
    const emit = ({ type }: { type: string }): void => void (type === 'ready' && ready());
    served.service.hold({ model }, { ...context(holding.signal), emit }).catch(failed);
  });
});

afterAll(() => {
  vi.restoreAllMocks();
  holding.abort();
  served.dispose();
});

function generate(
  options: Partial<GenerateInput['options']>,
  input: Partial<GenerateInput> = {},
  signal: AbortSignal = new AbortController().signal,
  emit?: (progress: ClientProgress) => void,
): Promise<unknown> {
  const all = { prompt: 'a cat', width: 64, height: 64, output: 'imageData', seed: 1, ...options } as const;
  return served.service.generate(
    { id: `${requests++}`, model, options: all, order: {}, ...input },
    context(signal, emit),
  );
}

const idle = { requests: 0, active: 0, heldBytes: 0, inFlight: 0, clients: 0 };

test.each(['encode', 'denoise', 'decode'] as const)(
  'an abort in the stage %s leaves little of the GPU to wait for, and nothing held',
  async (stage) => {
    // A step of this size takes many times what may lie ahead of the GPU.
    const size = { width: 128, height: 128, guidanceScale: 1 };
    const large = { ...size, numInferenceSteps: stage === 'decode' ? 1 : 4 };
    // What dispatches take is learned.
    await generate(large);
    const { queue } = engine.device;
    await queue.onSubmittedWorkDone();
    const { gpuBuffers } = await served.stats();
    const dispatches = vi.spyOn(GPUComputePassEncoder.prototype, 'dispatchWorkgroups');
    // Who else uses these processors is counted in, so the best of three is judged.
    const ahead: number[] = [];
    const rejected: number[] = [];
    for (let i = 0; i < 3; i++) {
      const controller = new AbortController();
      let begun = (): void => {};
      const reached = new Promise<void>((resolve) => (begun = resolve));
      const result = generate(large, {}, controller.signal, (progress) => {
        if (progress.stage === stage) begun();
      });
      await reached;
      await new Promise((resolve) => setTimeout(resolve, 10 + 25 * i));
      // A dispatch cannot be cut: where one takes longer than all that may lie ahead, one lies ahead of the one that runs.
      const { aheadMs, pending } = engine.pacer;
      ahead.push(pending <= 2 ? 0 : aheadMs);
      if (stage === 'denoise') expect(served.scheduler.stats.heldBytes).toBeGreaterThan(2 * 4 * 16 * 16 * 4);
      const reason = new DOMException('enough', 'AbortError');
      const aborted = performance.now();
      dispatches.mockClear();
      controller.abort(reason);
      await expect(result).rejects.toBe(reason);
      rejected.push(performance.now() - aborted);
      await queue.onSubmittedWorkDone();
      await expect.poll(() => served.scheduler.stats).toEqual(idle);
      // A step and a decoded picture have hundreds.
      expect(dispatches.mock.calls.length).toBeLessThan(10);
    }
    dispatches.mockRestore();
    expect(Math.min(...ahead)).toBeLessThan(50);
    // Promises reject without waiting for the GPU.
    expect(Math.min(...rejected)).toBeLessThan(50);
    await expect.poll(() => served.scheduler.stats).toEqual(idle);
    expect((await served.stats()).gpuBuffers).toBe(gpuBuffers);
  },
);

test('with half of the GPU it rests for about half of the time', async () => {
  const { signal } = new AbortController();
  const limits = new AbortController();
  const options = { numInferenceSteps: 4, guidanceScale: 1, width: 128, height: 128 };
  const holding = new Promise<void>((ready, failed) => {
    const emit = ({ type }: { type: string }): void => void (type === 'ready' && ready());
    served.service.hold({ model, gpuShare: 0.5 }, { ...context(limits.signal), emit }).catch(failed);
  });
  await holding;
  const began = performance.now();
  const { restedMs } = engine;
  await generate(options, {}, signal);
  const rested = (engine.restedMs - restedMs) / (performance.now() - began);
  limits.abort();
  await expect.poll(() => engine.gpuShare).toBe(1);
  expect(rested).toBeGreaterThan(0.3);
  expect(rested).toBeLessThan(0.6);
});

test('a preview is two dispatches and one small read-back, beside the steps', async () => {
  const counts = { dispatches: 0, created: 0, readBytes: 0 };
  const counted = async (previewEvery: number | undefined): Promise<typeof counts> => {
    Object.assign(counts, { dispatches: 0, created: -engine.buffers.created, readBytes: 0 });
    engine.onTransfer = ({ kind, bytes }) => void (kind === 'read-back' && (counts.readBytes += bytes));
    const dispatches = vi.spyOn(GPUComputePassEncoder.prototype, 'dispatchWorkgroups');
    const previews: number[] = [];
    try {
      const options = { numInferenceSteps: 6, guidanceScale: 1, sampler: 'ddim' } as const;
      await generate(options, { previewEvery }, undefined, (progress) => {
        if (progress.stage !== 'denoise' || !progress.preview) return;
        previews.push(progress.step);
        progress.preview.close();
      });
    } finally {
      counts.dispatches = dispatches.mock.calls.length;
      dispatches.mockRestore();
      engine.onTransfer = undefined;
    }
    expect(previews).toEqual(previewEvery ? [1, 2, 3, 4, 5] : []);
    counts.created += engine.buffers.created;
    return { ...counts };
  };
  // Once for what is made once.
  await counted(1);
  const without = await counted(undefined);
  const withPreviews = await counted(1);
  const later = [await counted(1), await counted(1)];
  const ofPreviews = 5;
  expect(withPreviews.dispatches - without.dispatches).toBe(2 * ofPreviews);
  // Planes, pixels and the fault. Where steps are faster than reading, previews overlap, never more than there are of them.
  const created = [withPreviews, ...later].reduce((sum, run) => sum + run.created, 0);
  expect(created).toBeLessThanOrEqual(3 * (ofPreviews - 1));
  expect(withPreviews.readBytes - without.readBytes).toBe(ofPreviews * 8 * 8 * 4);
  // Two of a step's dispatches, and small ones.
  expect((2 * ofPreviews) / without.dispatches).toBeLessThan(0.05);
});
