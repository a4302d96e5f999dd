import { NumericError, type Precision } from '@calotype/core';
import { BUSY_TRACK, gpuIdleShare, type JobContext } from '@calotype/scheduler';
import { DiffusionEngine, type HoldEvent, type ModelSpec } from 'calotype';
import type { Mode, RequestsRow, RequestsScenario } from '../requests-types.ts';
import type { BenchOptions } from '../types.ts';
import { fullSizeFolder } from './full-size-folder.ts';

/** Pictures made eight at a time before the first measurement: what batches cost is learned, clocks ramp up. */
const WARM_UP_IMAGES: Readonly<Record<Mode, number>> = { stacked: 2, pipelined: 8, batched: 24 };

/** Fewest pictures of a measurement, for each request that is under way. */
const LEAST_ROUNDS = 2;

const limits: Readonly<Record<Mode, { maxActive: number; maxBatch: number }>> = {
  stacked: { maxActive: 1, maxBatch: 1 },
  pipelined: { maxActive: Infinity, maxBatch: 1 },
  batched: { maxActive: Infinity, maxBatch: Infinity },
};

let engine: DiffusionEngine | undefined;
const models = new Map<string, Promise<ModelSpec>>();
const warm = new Set<string>();

/** Keeps the scenario's requests under way for `options.seconds`. */
export async function runRequests(scenario: RequestsScenario, options: BenchOptions): Promise<RequestsRow> {
  engine ??= new DiffusionEngine();
  const { scheduler } = engine;
  const model = await modelOf(scenario, options.precision);

  const key = `${scenario.model} ${scenario.size} ${scenario.mode}`;
  Object.assign(scheduler, limits[scenario.mode]);
  if (!warm.has(key)) await keepUp(8, { least: WARM_UP_IMAGES[scenario.mode], seconds: 0 }, model, scenario);
  warm.add(key);

  await engine.service.record({ on: true }, context());
  const started = performance.now();
  const least = LEAST_ROUNDS * scenario.requests;
  const made = await keepUp(scenario.requests, { least, seconds: options.seconds }, model, scenario);
  const seconds = (performance.now() - started) / 1000;
  const { spans } = (await engine.service.record({ on: false }, context()))!;
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
  scenario: RequestsScenario,
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

async function generate(model: ModelSpec, { size, steps }: RequestsScenario, seed: number): Promise<Made> {
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
    const input = { id: crypto.randomUUID(), model, options, order: {} };
    await engine!.service.generate(input, context());
  } catch (error) {
    if (!(error instanceof NumericError)) throw error;
    overflowed = true;
  }
  return { ms: performance.now() - started, overflowed };
}

/** The model, which stays loaded from its first use on. */
function modelOf({ model }: RequestsScenario, precision: Precision): Promise<ModelSpec> {
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
