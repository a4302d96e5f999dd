import type { Engine } from '../gpu/engine.ts';
import type { AttentionChoice } from '../kernels/attention/choose.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import type { Precision } from '../plan/capabilities.ts';
import type { Session } from '../session.ts';
import type { InputShapes } from '../session/request.ts';
import { candidatesFor } from './candidates.ts';
import { operandBytes, probeOf, timeOf, type Probe } from './probe.ts';
import { flopsOf, recording, type PlannedProblem } from './problems.ts';

/** A candidate has to be this much faster than the rules' choice: measurements differ by a few percent. */
const FASTER = 0.95;
/** Compiling leaves the GPU idle. */
const WARM_UP_MS = 150;
/** Below this nothing but the start of a dispatch is measured. */
const LEAST_FLOPS = 5e7;

export interface TuneOptions {
  /** Stops after about so many seconds, with what costs most measured first. 20 by default. */
  seconds?: number;
  signal?: AbortSignal;
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** What `tune` found. */
export interface TuningReport {
  /** Kinds of products and attentions in the graph that were measured now, known already, and left for lack of time. */
  measured: number;
  known: number;
  left: number;
  problems: TunedProblem[];
  /** Whether the browser keeps it for the next visit. */
  kept: boolean;
}

export interface TunedProblem {
  problem: string;
  /** How often the graph has it. */
  count: number;
  /** What was timed, the rules' choice first: names of kernels, with milliseconds. */
  tried: { kernels: string; milliseconds: number }[];
  /** Which of them is taken from now on: 0 where nothing was clearly faster than the rules' choice. */
  taken: number;
}

type Problems = ReadonlyMap<string, { planned: PlannedProblem; count: number }>;

/**
 * Times several kernels for each product and attention of a run with these shapes and takes the fastest from then on, in
 * all sessions of the engine; the browser keeps what was found for such a device (`EngineOptions.measured`). It takes
 * `seconds` of a GPU that should have nothing else to do, and memory for a few weights. The session's programs are made
 * again when they are wanted.
 *
 * @throws UnsupportedDeviceError without WebGPU; what `session.plan` and `session.prepare` throw
 */
export async function tune(
  session: Session,
  inputs: InputShapes,
  options: TuneOptions = {},
): Promise<TuningReport> {
  const problems = new Map<string, { planned: PlannedProblem; count: number }>();
  const { precision } = await session.planWith(inputs, recording(problems), options.signal);
  const worthTiming = [...problems].filter(([, { planned }]) => flopsOf(planned) >= LEAST_FLOPS);
  const report = await tuneProblems(session.engine!, precision, new Map(worthTiming), options);
  await session.forget();
  return report;
}

/** Times ways to compute each of the problems on the device and notes the fastest in the engine's table. */
export async function tuneProblems(
  engine: Engine,
  precision: Precision,
  problems: Problems,
  { seconds = 20, signal, onProgress }: TuneOptions = {},
): Promise<TuningReport> {
  const { measured: table } = engine;
  const wanted = [...problems].toSorted(
    ([, a], [, b]) => b.count * flopsOf(b.planned) - a.count * flopsOf(a.planned),
  );
  const unknown = wanted.filter(([key]) => !table.get(key));
  const report: TuningReport = {
    measured: 0,
    known: wanted.length - unknown.length,
    left: 0,
    problems: [],
    kept: false,
  };
  const end = performance.now() + 1000 * seconds;
  for (const [key, { planned, count }] of unknown) {
    signal?.throwIfAborted();
    if (performance.now() >= end) {
      report.left = unknown.length - report.measured;
      break;
    }
    const results = await measure(planned, engine, precision);
    const [rule] = results;
    const best = results.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a));
    const winner = best.milliseconds < FASTER * rule!.milliseconds ? best : rule!;
    table.set(key, {
      choice: winner.choice,
      milliseconds: winner.milliseconds,
      ruleMilliseconds: rule!.milliseconds,
    });
    report.measured++;
    report.problems.push({
      problem: key,
      count,
      tried: results.map(({ kernels, milliseconds }) => ({ kernels, milliseconds })),
      taken: results.indexOf(winner),
    });
    onProgress?.({ done: report.measured, total: unknown.length });
  }
  report.kept = await table.save(engine.capabilities);
  return report;
}

interface Timed {
  choice: GemmChoice | AttentionChoice;
  kernels: string;
  milliseconds: number;
}

/** Times of the rules' choice, first, and of the candidates that the device can run. */
async function measure(planned: PlannedProblem, engine: Engine, precision: Precision): Promise<Timed[]> {
  const choices = [planned.rule, ...candidatesFor(planned, engine.capabilities)];
  const probes = choices.map((choice) => probeOf(planned, choice, engine.capabilities, precision));
  // All at once: browsers compile in parallel.
  await Promise.all(probes.map((probe) => compile(probe, engine)));
  const noise = await noiseOf(Math.max(...probes.map(operandBytes)), engine);
  try {
    const timed: Timed[] = [];
    for (const [i, probe] of probes.entries()) {
      timed.push({
        choice: choices[i]!,
        kernels: nameOf(probe),
        milliseconds: await timeOf(probe, engine, noise, i === 0 ? WARM_UP_MS : 0),
      });
    }
    // Once more, so that what is first has no disadvantage.
    const [rule] = timed;
    rule!.milliseconds = Math.min(rule!.milliseconds, await timeOf(probes[0]!, engine, noise));
    return timed;
  } finally {
    engine.buffers.release(noise);
  }
}

async function compile({ plan }: Probe, engine: Engine): Promise<void> {
  await Promise.all(
    plan.steps.flatMap((step) =>
      step.kind === 'dispatch' ? [engine.pipelines.get(step.kernel, step.params.byteLength > 0)] : [],
    ),
  );
}

/** Kernels of one call. */
function nameOf({ plan }: Probe): string {
  const names = plan.steps.flatMap((step) =>
    step.kind === 'dispatch' && step.phase === 'run' ? [step.kernel.name] : [],
  );
  return [...new Set(names)].join(' + ');
}

/** Halves between 1/16 and 1 of either sign, which are finite in every other type too. */
async function noiseOf(bytes: number, engine: Engine): Promise<GPUBuffer> {
  const size = Math.ceil(bytes / 4) * 4;
  const buffer = engine.buffers.acquire(size, 'tuning noise');
  await engine.until(engine.buffers.settled([buffer]));
  const block = new Uint16Array(Math.min(size, 2 ** 22) / 2);
  let state = 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    block[i] = ((state >>> 16) & 0x8000) | (0x2c00 + ((state >>> 8) & 0x0fff));
  }
  for (let at = 0; at < size; at += block.byteLength) {
    engine.device.queue.writeBuffer(buffer, at, block, 0, Math.min(block.byteLength, size - at) / 2);
  }
  return buffer;
}
