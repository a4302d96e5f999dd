import {
  createSession,
  Engine,
  footprintOf,
  Tensor,
  tune,
  type ModelSource,
  type Session,
  type TuningReport,
} from '@calotype/core';
import type { GraphScenario } from '../scenarios.ts';
import type { BenchOptions, Measurement } from '../types.ts';
import { at } from './phase.ts';
import { distance, expectedOf, feedsOf, referenceOf, tensorsOf, type Reference } from './reference.ts';
import { tuningOf } from './rules.ts';
import { timed } from './timing.ts';
import { graphStore } from './weights-file.ts';

/** Largest absolute value of inputs that bring activations to the end of f16, which is at 65504. */
const LARGEST_INPUT = 60_000;

async function measured(
  session: Session,
  inputs: Record<string, Tensor>,
  seconds: number | undefined,
): Promise<TuningReport | undefined> {
  if (seconds === undefined) return undefined;
  at('measuring kernels');
  return tune(session, inputs, { seconds });
}

/** What was not as it is by itself. */
function settingsOf(tuning: TuningReport | undefined, rules: string | undefined): { settings?: string } {
  const changed = tuning?.problems.filter(({ taken }) => taken > 0).length;
  const parts = [
    ...(tuning ? [`${changed} of ${tuning.measured} kernels chosen by measuring`] : []),
    ...(rules === undefined ? [] : [rules]),
  ];
  return parts.length > 0 ? { settings: parts.join(', ') } : {};
}

/** Times one graph in this library's sessions. */
export async function runGraph(scenario: GraphScenario, options: BenchOptions): Promise<Measurement> {
  const { precision, flags } = options;
  at('reading the graph');
  const source = { store: await graphStore(scenario.graph), path: `${scenario.graph}.onnx` };
  const reference = await referenceOf(scenario);
  const stored = scenario.weights && (await runAsStored(scenario, source, options, reference));
  using engine = await Engine.create({
    precision,
    ...(scenario.budget !== undefined && { memoryBudget: scenario.budget }),
  });
  if (options.rules !== undefined) engine.tuning = tuningOf(options.rules, engine.capabilities);
  using session = await createSession(source, {
    engine,
    ...(scenario.weights && { weights: scenario.weights }),
  });
  const inputs = tensorsOf(feedsOf(session.inputs, scenario.shapes, { reference }));
  const tuning = await measured(session, inputs, options.tune);
  at('its first run');
  const cold = performance.now();
  const outputs = await session.run(inputs);
  const numbers = await numbersOf(outputs);
  checkFinite(numbers, 'an output');
  const coldMs = performance.now() - cold;
  let relativeL2 = distance(numbers, expectedOf(shapesOf(outputs), reference));
  const relativeL2ToStored = stored && distance(numbers, stored.numbers)!;
  release(outputs);

  at('a run with inputs near the end of f16');
  const large = await session.run(
    tensorsOf(feedsOf(session.inputs, scenario.shapes, { largest: LARGEST_INPUT })),
  );
  checkFinite(await numbersOf(large), 'with inputs near the end of f16, an output');
  release(large);

  at('timing');
  const times = await timed(() => once(session, inputs, engine), options.runs);
  const { peakBytes } = engine.buffers;

  let profile: Measurement['profile'];
  if (options.profile) {
    at('its profile');
    const result = await session.profile(inputs);
    profile = result.dispatches;
    release(result.outputs);
  }
  const plan = await session.plan(inputs);
  const { weightBytes, peakBytes: plannedBytes } = footprintOf(plan);

  // After the timing, so that another size's memory is not counted.
  const shapes = reference && scenario.referenceShapes;
  if (shapes) {
    at('a run of the size of its reference');
    const small = await session.run(tensorsOf(feedsOf(session.inputs, shapes, { reference })));
    relativeL2 = distance(await numbersOf(small), expectedOf(shapesOf(small), reference));
    release(small);
  }
  return {
    row: {
      scenario: `${scenario.name}${tuning ? '-tuned' : ''}${options.rules === undefined ? '' : '-tried'}`,
      engine: 'calotype',
      flags,
      precision,
      ...times,
      relativeL2,
      ...(relativeL2ToStored !== undefined && { relativeL2ToStored }),
      ...(stored && { storedMs: stored.medianMs }),
      weightBytes,
      plannedBytes,
      peakBytes,
      dispatches: plan.steps.filter((step) => step.phase !== 'load').length,
      coldMs,
      ...settingsOf(tuning, options.rules),
    },
    profile,
    tuning,
  };
}

/** What the same graph gives with its weights as stored, and in what time, before the engine under test takes its memory. */
async function runAsStored(
  scenario: GraphScenario,
  source: ModelSource,
  { precision, runs }: BenchOptions,
  reference: Reference | undefined,
): Promise<{ numbers: Map<string, Float32Array>; medianMs: number }> {
  at('a run with its weights as stored');
  using engine = await Engine.create({ precision });
  using session: Session = await createSession(source, { engine });
  const inputs = tensorsOf(feedsOf(session.inputs, scenario.shapes, { reference }));
  const outputs = await session.run(inputs);
  const numbers = await numbersOf(outputs);
  release(outputs);
  at('timing with its weights as stored');
  const { medianMs } = await timed(() => once(session, inputs, engine), runs);
  return { numbers, medianMs };
}

/** Milliseconds of one run. */
async function once(session: Session, inputs: Record<string, Tensor>, engine: Engine): Promise<number> {
  const started = performance.now();
  const results = await session.run(inputs);
  await engine.device.queue.onSubmittedWorkDone();
  const elapsed = performance.now() - started;
  release(results);
  return elapsed;
}

function checkFinite(outputs: ReadonlyMap<string, Float32Array>, what: string): void {
  for (const [name, numbers] of outputs) {
    const index = numbers.findIndex((value) => !Number.isFinite(value));
    if (index >= 0) throw new Error(`${what} ('${name}') is ${numbers[index]} at ${index}`);
  }
}

/** All outputs of floats. */
async function numbersOf(outputs: Record<string, Tensor>): Promise<Map<string, Float32Array>> {
  const numbers = new Map<string, Float32Array>();
  for (const [name, tensor] of Object.entries(outputs)) {
    if (!tensor.dtype.startsWith('float')) continue;
    const wide = tensor.gpu ? new Tensor('float32', tensor.shape, tensor.gpu) : tensor;
    numbers.set(name, (await wide.data()) as Float32Array);
  }
  return numbers;
}

function shapesOf(outputs: Record<string, Tensor>): { name: string; shape: readonly number[] }[] {
  return Object.entries(outputs).map(([name, { shape }]) => ({ name, shape }));
}

function release(outputs: Record<string, Tensor>): void {
  for (const tensor of Object.values(outputs)) tensor.dispose();
}
