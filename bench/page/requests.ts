import { NumericError, type Precision } from '@calotype/core';
import type { JobContext } from '@calotype/scheduler';
import { DiffusionEngine, Trace, type HoldEvent, type ModelSpec } from 'calotype';
import type { Mode, RequestsRow, RequestsScenario } from '../requests-types.ts';
import type { BenchOptions } from '../types.ts';
import { fullSizeFolder } from './full-size-folder.ts';

/** Rounds of eight requests before the first measured one: what batches cost is learned, clocks ramp up. */
const WARM_UP_ROUNDS = 2;

const limits: Readonly<Record<Mode, { maxActive: number; maxBatch: number }>> = {
  stacked: { maxActive: 1, maxBatch: 1 },
  pipelined: { maxActive: Infinity, maxBatch: 1 },
  batched: { maxActive: Infinity, maxBatch: Infinity },
};

let engine: DiffusionEngine | undefined;
const models = new Map<string, Promise<ModelSpec>>();
const warm = new Set<string>();

/** Sends the scenario's requests at once, `rounds` times. */
export async function runRequests(scenario: RequestsScenario, options: BenchOptions): Promise<RequestsRow> {
  engine ??= new DiffusionEngine();
  const { scheduler } = engine;
  const model = await modelOf(scenario, options.precision);
  const round = (requests: number): Promise<{ ms: number; overflowed: boolean }[]> =>
    Promise.all(Array.from({ length: requests }, (_, seed) => generate(model, scenario, seed)));

  const key = `${scenario.model} ${scenario.size} ${scenario.mode === 'batched' ? 'batched' : ''}`;
  Object.assign(scheduler, limits[scenario.mode]);
  if (!warm.has(key)) for (let i = 0; i < WARM_UP_ROUNDS; i++) await round(8);
  warm.add(key);

  const rounds = Math.max(1, Math.min(options.runs, 3));
  const trace = new Trace();
  scheduler.trace = trace;
  const started = performance.now();
  const made: { ms: number; overflowed: boolean }[] = [];
  for (let i = 0; i < rounds; i++) made.push(...(await round(scenario.requests)));
  const seconds = (performance.now() - started) / 1000;
  scheduler.trace = undefined;
  const steps = trace.spans
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
    gpuIdleShare: trace.gpuIdleShare,
    jobsPerStep: steps.reduce((sum, jobs) => sum + jobs, 0) / steps.length,
    rounds,
    overflowed: made.filter(({ overflowed }) => overflowed).length,
  };
}

async function generate(
  model: ModelSpec,
  { size, steps }: RequestsScenario,
  seed: number,
): Promise<{ ms: number; overflowed: boolean }> {
  const started = performance.now();
  const options = {
    prompt: 'a lighthouse at night',
    width: size,
    height: size,
    numInferenceSteps: steps,
    seed,
  };
  let overflowed = false;
  try {
    const input = { id: crypto.randomUUID(), model, options, order: {} };
    const { images } = await engine!.service.generate(input, context());
    for (const image of images) (image as ImageBitmap).close();
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
  const source =
    model === 'sd15' ? await fullSizeFolder() : new URL(`/fixtures/${model}/`, location.href).href;
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
