import { Engine, type Precision } from '@calotype/core';
import { Program } from '../../../packages/core/src/gpu/program.ts';
import { ResidentWeights } from '../../../packages/core/src/gpu/resident-weights.ts';
import type { KernelTuning } from '../../../packages/core/src/kernels/tuning.ts';
import { planGraph } from '../../../packages/core/src/plan/plan-graph.ts';
import type { Plan } from '../../../packages/core/src/plan/plan.ts';
import { sizeOf } from '../../../packages/core/src/tensor/shape.ts';
import { fromFloat16Array } from '../../../packages/core/src/tensor/float16.ts';
import type { KernelCase } from '../cases.ts';
import type { KernelBenchOptions, KernelBenchPage, KernelRow } from '../types.ts';
import { graphOf } from './graph.ts';
import { referenceTuning, variantsOf, type Variant } from './variants.ts';

declare global {
  var calotypeKernels: KernelBenchPage;
}

const engines = new Map<Precision, Promise<Engine>>();
function engineFor(precision: Precision): Promise<Engine> {
  let engine = engines.get(precision);
  if (!engine) engines.set(precision, (engine = Engine.create({ precision })));
  return engine;
}

globalThis.calotypeKernels = {
  async adapter() {
    using engine = await Engine.create();
    const { capabilities, precision } = engine;
    return { name: capabilities.adapter, capabilities: JSON.stringify(capabilities), precision };
  },
  async warmUp() {
    // Clocks ramp up for about a second.
    const started = performance.now();
    const item: KernelCase = { kind: 'gemm', name: 'warm-up', rows: 2048, columns: 2048, depth: 2048 };
    while (performance.now() - started < 1500) await run(item, { precision: 'f32', time: true, all: false });
  },
  run,
};

async function run(item: KernelCase, options: KernelBenchOptions): Promise<KernelRow[]> {
  const { precision } = options;
  const engine = await engineFor(precision);
  const expected = await resultOf(item, precision, engine, 'f32', referenceTuning);
  const rows: KernelRow[] = [];
  for (const variant of variantsOf(engine.capabilities, precision, item, options.all)) {
    rows.push(await measure(item, variant, engine, options, expected));
  }
  return rows;
}

async function measure(
  item: KernelCase,
  variant: Variant,
  engine: Engine,
  options: KernelBenchOptions,
  expected: Result,
): Promise<KernelRow> {
  const { precision } = options;
  try {
    const actual = await resultOf(item, precision, engine, precision, variant.tuning);
    const relativeL2 = difference(actual.data, expected.data);
    const row: KernelRow = { variant: `${variant.name} ${actual.kernels}`, relativeL2 };
    if (!options.time) return row;
    // One call cannot be told from the overhead of a run; many in one run can.
    const few = await timeOf(item, precision, engine, variant.tuning, 1);
    const repeats = Math.max(2, Math.min(40, Math.round(20 / few)));
    const many = await timeOf(item, precision, engine, variant.tuning, 1 + repeats);
    const milliseconds = (many - few) / repeats;
    return { ...row, microseconds: milliseconds * 1000, teraflops: actual.flops / milliseconds / 1e9 };
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
): Promise<Prepared> {
  const { graph, contents } = graphOf(item, stored === 'f32' ? 'float32' : 'float16', calls);
  const plan = planGraph(graph, { capabilities: engine.capabilities, precision, tuning });
  const program = await Program.prepare(engine, plan, new ResidentWeights(engine));
  const external = new Map<number, GPUBuffer>();
  const acquire = (buffer: number, label: string): GPUBuffer => {
    const made = engine.buffers.acquire(plan.buffers[buffer]!.bytes, label);
    external.set(buffer, made);
    return made;
  };
  for (const [name, view] of plan.inputs) {
    const bytes = contents.get(name)!;
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

interface Result {
  data: Float32Array;
  kernels: string;
  flops: number;
}

async function resultOf(
  item: KernelCase,
  stored: Precision,
  engine: Engine,
  precision: Precision,
  tuning: KernelTuning,
): Promise<Result> {
  const prepared = await prepare(item, stored, engine, precision, tuning, 1);
  try {
    await prepared.program.run(prepared.external);
    const [view] = [...prepared.plan.outputs.values()];
    const elements = sizeOf(view!.shape);
    const bytes = Math.ceil((elements * (view!.storage === 'f16' ? 2 : 4)) / 4) * 4;
    const staging = engine.device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = engine.device.createCommandEncoder();
    encoder.copyBufferToBuffer(prepared.external.get(view!.buffer)!, 0, staging, 0, bytes);
    engine.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const copy = staging.getMappedRange().slice(0);
    staging.destroy();
    const data =
      view!.storage === 'f16'
        ? fromFloat16Array(new Uint16Array(copy, 0, elements))
        : new Float32Array(copy, 0, elements);
    const steps = prepared.plan.steps.flatMap((step) =>
      step.kind === 'dispatch' && step.phase === 'run' ? [step] : [],
    );
    return {
      data,
      kernels: steps.map((step) => `${step.kernel.name}[${step.grid.join('x')}]`).join(' + '),
      flops: steps.reduce((sum, step) => sum + step.work.flops, 0),
    };
  } finally {
    prepared.release();
  }
}

/** Milliseconds of a run with so many calls: best of several. */
async function timeOf(
  item: KernelCase,
  precision: Precision,
  engine: Engine,
  tuning: KernelTuning,
  calls: number,
): Promise<number> {
  const prepared = await prepare(item, precision, engine, precision, tuning, calls);
  try {
    const { queue } = engine.device;
    await prepared.program.run(prepared.external);
    await queue.onSubmittedWorkDone();
    let best = Infinity;
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      await prepared.program.run(prepared.external);
      await queue.onSubmittedWorkDone();
      best = Math.min(best, performance.now() - started);
    }
    return best;
  } finally {
    prepared.release();
  }
}

function difference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return NaN;
  let sum = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    sum += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(sum / norm);
}
