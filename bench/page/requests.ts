import { Engine, NumericError, type Precision } from '@calotype/core';
import { BUSY_TRACK, gpuIdleShare, type JobContext } from '@calotype/scheduler';
import { cpuWorker, DiffusionEngine, type ClientProgress, type HoldEvent, type ModelSpec } from 'calotype';
import type { ControlScenario, Mode, RequestsRow, RequestsScenario } from '../requests-types.ts';
import type { BenchOptions, Measurement } from '../types.ts';
import { fullSizeFolder } from './full-size-folder.ts';
import { ownRow } from './row.ts';
import { summary } from './timing.ts';

/** Pictures made eight at a time before the first measurement: what batches cost is learned, clocks ramp up. */
const WARM_UP_IMAGES: Readonly<Record<Mode, number>> = { stacked: 2, pipelined: 8, batched: 24 };

/** Times that requests are aborted, and that pictures are made with previews and without. */
const ABORTS = 15;
const PREVIEW_ROUNDS = 6;

/** Fewest pictures of a measurement, for each request that is under way. */
const LEAST_ROUNDS = 2;

const limits: Readonly<Record<Mode, { maxActive: number; maxBatch: number }>> = {
  stacked: { maxActive: 1, maxBatch: 1 },
  pipelined: { maxActive: Infinity, maxBatch: 1 },
  batched: { maxActive: Infinity, maxBatch: Infinity },
};

let device: GPUDevice;
let engine: DiffusionEngine | undefined;
const models = new Map<string, Promise<ModelSpec>>();
const warm = new Set<string>();

/** The one engine of this page. */
function sharedEngine(): DiffusionEngine {
  engine ??= new DiffusionEngine({
    cpuLink: cpuWorker,
    createEngine: async () => {
      const created = await Engine.create();
      device = created.device;
      return created;
    },
  });
  return engine;
}

/** Keeps the scenario's requests under way for `options.seconds`. */
export async function runRequests(scenario: RequestsScenario, options: BenchOptions): Promise<RequestsRow> {
  const { scheduler, service } = sharedEngine();
  const model = await modelOf(scenario, options.precision);

  const key = `${scenario.model} ${scenario.size} ${scenario.mode}`;
  Object.assign(scheduler, limits[scenario.mode]);
  if (!warm.has(key)) await keepUp(8, { least: WARM_UP_IMAGES[scenario.mode], seconds: 0 }, model, scenario);
  warm.add(key);

  await service.record({ on: true }, context());
  const started = performance.now();
  const least = LEAST_ROUNDS * scenario.requests;
  const made = await keepUp(scenario.requests, { least, seconds: options.seconds }, model, scenario);
  const seconds = (performance.now() - started) / 1000;
  const { spans } = (await service.record({ on: false }, context()))!;
  const steps = spans
    .filter(({ track, name }) => track === 'gpu' && name === 'denoise')
    .map(({ args }) => (args!['requests'] as number[]).length);
  const latencies = made.map(({ ms }) => ms).sort((a, b) => a - b);
  const percentile = (share: number): number =>
    latencies[Math.min(latencies.length - 1, Math.ceil(share * latencies.length) - 1)]!;
  return {
    ...scenario,
    engine: 'calotype',
    flags: options.flags,
    precision: options.precision,
    imagesPerSecond: made.length / seconds,
    latencyP50Ms: percentile(0.5),
    latencyP95Ms: percentile(0.95),
    gpuIdleShare: gpuIdleShare(spans),
    clocked: spans.some(({ track }) => track === BUSY_TRACK),
    jobsPerStep: steps.reduce((sum, jobs) => sum + jobs, 0) / steps.length,
    images: made.length,
    overflowed: made.filter(({ overflowed }) => overflowed).length,
  };
}

interface Made {
  ms: number;
  overflowed: boolean;
}

/** Keeps `requests` of them under way until there are enough pictures and the time is over. */
async function keepUp(
  requests: number,
  until: { least: number; seconds: number },
  model: ModelSpec,
  scenario: Pick<RequestsScenario, 'size' | 'steps'>,
): Promise<Made[]> {
  const made: Made[] = [];
  let begun = 0;
  const end = performance.now() + until.seconds * 1000;
  const oneAfterTheOther = async (): Promise<void> => {
    while (begun < until.least || performance.now() < end)
      made.push(await generate(model, scenario, begun++));
  };
  await Promise.all(Array.from({ length: requests }, oneAfterTheOther));
  return made;
}

/** See `ControlScenario`. */
export async function runControl(scenario: ControlScenario, options: BenchOptions): Promise<Measurement> {
  const { scheduler } = sharedEngine();
  Object.assign(scheduler, limits.batched);
  const model = await modelOf(scenario, options.precision);
  const measure = scenario.what === 'aborts' ? abortTimes : previewTimes;
  const { times, stages } = await measure(model, scenario);
  return {
    row: {
      ...ownRow(scenario, options),
      ...summary(times),
      relativeL2: null,
      peakBytes: null,
      dispatches: null,
      ...(stages && { stages }),
    },
  };
}

interface ControlTimes {
  times: number[];
  stages?: Record<string, number>;
}

/** How long the GPU is still at what was submitted when eight requests are aborted, at any moment of their way. */
async function abortTimes(model: ModelSpec, scenario: ControlScenario): Promise<ControlTimes> {
  await keepUp(8, { least: 8, seconds: 0 }, model, scenario);
  const times: number[] = [];
  for (let i = 0; i < ABORTS; i++) {
    const controller = new AbortController();
    const { signal } = controller;
    const requests = Array.from({ length: 8 }, (_, seed) =>
      generate(model, scenario, seed, { signal }).catch(() => {}),
    );
    await new Promise((resolve) => setTimeout(resolve, 5 + 7 * i));
    const aborted = performance.now();
    controller.abort(new DOMException('enough', 'AbortError'));
    await device.queue.onSubmittedWorkDone();
    times.push(performance.now() - aborted);
    await Promise.all(requests);
  }
  return { times };
}

/** Pictures one after another, with previews and without in turns. */
async function previewTimes(model: ModelSpec, scenario: ControlScenario): Promise<ControlTimes> {
  const without: number[] = [];
  const previews: number[] = [];
  for (let i = 0; i < PREVIEW_ROUNDS; i++) {
    const plain = await generate(model, scenario, i);
    const previewed = await generate(model, scenario, i, { previewEvery: 1 });
    // The first ones make what later ones find.
    if (i === 0) continue;
    without.push(plain.ms);
    previews.push(previewed.ms);
  }
  return { times: previews, stages: { without: Math.min(...without), previews: Math.min(...previews) } };
}

async function generate(
  model: ModelSpec,
  { size, steps }: Pick<RequestsScenario, 'size' | 'steps'>,
  seed: number,
  { signal, previewEvery }: { signal?: AbortSignal; previewEvery?: number } = {},
): Promise<Made> {
  const started = performance.now();
  const options = {
    prompt: 'a lighthouse at night',
    width: size,
    height: size,
    numInferenceSteps: steps,
    seed,
    output: 'imageData',
  } as const;
  let overflowed = false;
  try {
    const input = { id: crypto.randomUUID(), model, options, order: {}, previewEvery };
    const emit = (progress: ClientProgress): void => {
      if ('preview' in progress) progress.preview?.close();
    };
    await engine!.service.generate(input, { ...context(), ...(signal && { signal }), emit });
  } catch (error) {
    if (!(error instanceof NumericError)) throw error;
    overflowed = true;
  }
  return { ms: performance.now() - started, overflowed };
}

/** The model, which stays loaded from its first use on. */
function modelOf({ model }: Pick<RequestsScenario, 'model'>, precision: Precision): Promise<ModelSpec> {
  let held = models.get(model);
  if (!held) models.set(model, (held = hold(model, precision)));
  return held;
}

async function hold(model: RequestsScenario['model'], precision: Precision): Promise<ModelSpec> {
  const source = model === 'sd15' ? await fullSizeFolder() : new URL('/pocket/', location.href).href;
  const spec: ModelSpec = { source, precision, warmUp: false };
  await new Promise<void>((ready, failed) => {
    const emit = (event: HoldEvent): void => void (event.type === 'ready' && ready());
    engine!.service.hold({ model: spec }, { ...context(), emit }).catch(failed);
  });
  return spec;
}

/** What the jobs of an engine get from a client that wants nothing else. */
function context(): Omit<JobContext<never>, 'emit'> & { emit: () => void } {
  const { signal } = new AbortController();
  return { signal, client: 'bench', emit: () => {}, resume: undefined, keep: () => {} };
}
