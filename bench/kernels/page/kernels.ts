import { Engine, type Precision } from '@calotype/core';
import { Program } from '../../../packages/core/src/gpu/program.ts';
import { ResidentWeights } from '../../../packages/core/src/gpu/resident-weights.ts';
import type { KernelTuning } from '../../../packages/core/src/kernels/tuning.ts';
import { planGraph } from '../../../packages/core/src/plan/plan-graph.ts';
import type { Dispatch, Plan } from '../../../packages/core/src/plan/plan.ts';
import { sizeOf } from '../../../packages/core/src/tensor/shape.ts';
import { fromFloat16Array } from '../../../packages/core/src/tensor/float16.ts';
import { flopsOf, weightsOf, type KernelCase } from '../cases.ts';
import { at } from '../../page/phase.ts';
import type { KernelBenchOptions, KernelPage, KernelRow } from '../types.ts';
import { graphOf } from './graph.ts';
import { referenceTuning, variantsOf, type Variant } from './variants.ts';

/** Calls in a run: enough that weights of all of them exceed the caches, and few where each is long. */
const CALLS = 12;
const FLOPS = 2e12;
/** Load before a kernel is timed. */
const SPIN_MS = 800;
/** Least time of the runs that are timed together. */
const LEAST_MS = 15;
const RUNS = 5;

const engines = new Map<Precision, Promise<Engine>>();
function engineFor(precision: Precision): Promise<Engine> {
  let engine = engines.get(precision);
  if (!engine) engines.set(precision, (engine = Engine.create({ precision })));
  return engine;
}

/** Kernels on their own: checked against the simplest ones, and timed. */
export const kernels: KernelPage = {
  async variants(item, precision, pattern) {
    const { capabilities } = await engineFor(precision);
    return variantsOf(capabilities, precision, item, pattern).map(({ name }) => name);
  },
  run,
};

/** What the case that was run last should give. */
let reference: ({ item: string; precision: Precision } & Expected) | undefined;

async function run(
  item: KernelCase,
  names: readonly string[],
  options: KernelBenchOptions,
): Promise<KernelRow[]> {
  const { precision } = options;
  const engine = await engineFor(precision);
  if (reference?.item !== item.name || reference.precision !== precision) {
    at('the simplest kernel');
    reference = { item: item.name, precision, ...(await expectedOf(item, precision)) };
  }
  const expected = reference;
  at('compiling');
  const weights = new ResidentWeights(engine);
  const variants = variantsOf(engine.capabilities, precision, item, '').filter(({ name }) =>
    names.includes(name),
  );
  // All at once: browsers compile in parallel.
  const prepared = await Promise.all(
    variants.map((variant) =>
      prepare(
        item,
        precision,
        engine,
        precision,
        variant.tuning,
        options.time ? callsOfRun(item) : 1,
        weights,
      ).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
    ),
  );
  const rows: KernelRow[] = [];
  at('timing');
  for (const [i, each] of prepared.entries())
    rows.push(await measure(variants[i]!, each, engine, options, expected));
  for (const each of prepared) if (!(each instanceof Error)) each.release();
  return rows;
}

function callsOfRun(item: KernelCase): number {
  return Math.max(2, Math.min(CALLS, Math.floor(FLOPS / flopsOf(item))));
}

/** What a case should give: all of its rows, or every `stride`-th, of `width` elements. */
interface Expected {
  values: Float32Array;
  stride: number;
  width: number;
}

/** Of long attention the simplest kernel, which is slow, computes one row in so many: a prime, so that all lanes have some. */
const STRIDE = 37;
const LONG_QUERIES = 1024;

/** Result of the simplest kernels in f32. */
async function expectedOf(item: KernelCase, stored: Precision): Promise<Expected> {
  const engine = await engineFor('f32');
  const isSampled = item.kind === 'attention' && item.queries >= LONG_QUERIES && !item.causal && !item.batch;
  const stride = isSampled ? STRIDE : 1;
  const width = item.kind === 'attention' ? item.heads * item.size : 1;
  const part = isSampled ? { ...item, queries: Math.ceil(item.queries / stride) } : item;
  const weights = new ResidentWeights(engine);
  const prepared = await prepare(part, stored, engine, 'f32', referenceTuning, 1, weights, (name, data) => {
    if (!isSampled || name !== 'q') return data;
    const { q } = Object.fromEntries(graphOf(item, stored === 'f32' ? 'float32' : 'float16', 1).contents);
    return rowsOf(q!, width, stride);
  });
  try {
    await prepared.program.run(prepared.external);
    return { values: await read(prepared, engine), stride, width };
  } finally {
    prepared.release();
  }
}

/** Every `stride`-th row of `width` elements. */
function rowsOf<T extends Float32Array | Uint16Array>(data: T, width: number, stride: number): T {
  return data.filter((_, i) => Math.floor(i / width) % stride === 0) as T;
}

async function measure(
  variant: Variant,
  prepared: Prepared | Error,
  engine: Engine,
  options: KernelBenchOptions,
  expected: Expected,
): Promise<KernelRow> {
  try {
    if (prepared instanceof Error) throw prepared;
    await prepared.program.run(prepared.external);
    const relativeL2 = difference(await read(prepared, engine), expected);
    const first = callsOf(prepared.plan)[0]!;
    const kernels = first.map((step) => `${step.kernel.name}[${step.grid[0] * step.grid[1]}]`).join(' + ');
    const row: KernelRow = { variant: `${variant.name} ${kernels}`, relativeL2 };
    if (!options.time) return row;
    const microseconds = await timeOf(prepared, engine);
    const flops = first.reduce((sum, step) => sum + step.work.flops, 0);
    const bytes = first.reduce((sum, step) => sum + step.work.bytes, 0);
    return {
      ...row,
      microseconds,
      teraflops: flops / microseconds / 1e6,
      gigabytes: bytes / microseconds / 1e3,
    };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { variant: variant.name, relativeL2: NaN, error: text.slice(0, 600) };
  }
}

interface Prepared {
  plan: Plan;
  program: Program;
  external: Map<number, GPUBuffer>;
  release(): void;
}

async function prepare(
  item: KernelCase,
  stored: Precision,
  engine: Engine,
  precision: Precision,
  tuning: KernelTuning,
  calls: number,
  weights: ResidentWeights,
  change: (name: string, data: Float32Array | Uint16Array) => Float32Array | Uint16Array = (_, data) => data,
): Promise<Prepared> {
  const { graph, contents } = graphOf(item, stored === 'f32' ? 'float32' : 'float16', calls);
  const plan = planGraph(graph, {
    capabilities: engine.capabilities,
    precision,
    tuning,
    weights: weightsOf(item),
    // The first and last layers of a model stay as they are; here each is both.
    quantizable: new Set(graph.nodes),
  });
  const program = await Program.prepare(engine, plan, weights);
  const external = new Map<number, GPUBuffer>();
  const acquire = (buffer: number, label: string): GPUBuffer => {
    const made = engine.buffers.acquire(plan.buffers[buffer]!.bytes, label);
    external.set(buffer, made);
    return made;
  };
  for (const [name, view] of plan.inputs) {
    const bytes = change(name, contents.get(name)!);
    const buffer = acquire(view.buffer, name);
    const padded = new Uint8Array(buffer.size);
    padded.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    engine.device.queue.writeBuffer(buffer, 0, padded);
  }
  for (const [name, view] of plan.outputs) if (!external.has(view.buffer)) acquire(view.buffer, name);
  return {
    plan,
    program,
    external,
    release() {
      program.dispose();
      for (const buffer of external.values()) engine.buffers.release(buffer);
    },
  };
}

/** Dispatches of each call. */
function callsOf(plan: Plan): Dispatch[][] {
  const calls = new Map<string, Dispatch[]>();
  for (const step of plan.steps) {
    if (step.kind !== 'dispatch' || step.phase !== 'run') continue;
    calls.set(step.label, [...(calls.get(step.label) ?? []), step]);
  }
  return [...calls.values()];
}

/** The last call's result. */
async function read(prepared: Prepared, engine: Engine): Promise<Float32Array> {
  const view = [...prepared.plan.outputs.values()].at(-1)!;
  const elements = sizeOf(view.shape);
  const bytes = Math.ceil((elements * (view.storage === 'f16' ? 2 : 4)) / 4) * 4;
  const found = await engine.readBack.read(prepared.external.get(view.buffer)!, bytes);
  return view.storage === 'f16'
    ? fromFloat16Array(new Uint16Array(found.buffer, 0, elements))
    : new Float32Array(found.buffer, 0, elements);
}

/**
 * Time of one call, its dispatches after each other: what two thirds of a long row of runs take longer than one third, so
 * that neither the start nor the end counts. Below 7 µs a dispatch it is what Chromium takes to hand it on.
 */
async function timeOf({ plan, program, external }: Prepared, engine: Engine): Promise<number> {
  const calls = callsOf(plan).length;
  const time = async (runs: number): Promise<number> => {
    const started = performance.now();
    for (let run = 0; run < runs; run++) await program.run(external);
    await engine.device.queue.onSubmittedWorkDone();
    return performance.now() - started;
  };
  // Clocks fall while kernels compile and rise under load for half a second and more: 345 to 1980 MHz on an H100.
  const started = performance.now();
  let runs = 1;
  while (performance.now() - started < SPIN_MS) {
    if ((await time(runs)) < LEAST_MS) runs *= 2;
  }
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const third = await time(runs);
    times.push(((await time(3 * runs)) - third) / (2 * runs * calls));
  }
  return 1000 * times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

function difference(all: Float32Array, { values: expected, stride, width }: Expected): number {
  const actual = stride === 1 ? all : rowsOf(all, width, stride);
  if (actual.length !== expected.length) return NaN;
  let sum = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    sum += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(sum / norm);
}
