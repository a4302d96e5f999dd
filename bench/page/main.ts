import {
  createSession,
  Engine,
  Tensor,
  urlStore,
  type ModelSource,
  type Precision,
  type Session,
} from '@calotype/core';
import { hashedWeights } from '@calotype/dev/hashed-weights';
import { hashFill } from '@calotype/dev/hash-fill';
import { readSafetensors } from '@calotype/dev/safetensors';
import type { GraphScenario } from '../scenarios.ts';
import type { BenchOptions, BenchPage, Measurement } from '../types.ts';
import { runRequests } from './requests.ts';

/** Runs before the first measured one: clocks ramp up for about a second. */
const WARM_UP_MS = 1500;

/** Largest absolute value of inputs that bring activations to the end of f16, which is at 65504. */
const LARGEST_INPUT = 60_000;

declare global {
  var calotypeBench: BenchPage;
}

globalThis.calotypeBench = {
  async adapter() {
    using engine = await Engine.create();
    return { name: engine.capabilities.adapter, precision: engine.precision };
  },
  run,
  runRequests,
};

async function run(scenario: GraphScenario, options: BenchOptions): Promise<Measurement> {
  const { precision, flags } = options;
  const model = `full-size/${scenario.graph}.onnx`;
  const weights = await hashedWeights(
    urlStore(new URL('/fixtures/', location.href).href),
    model,
    `full-size/${scenario.graph}.weights.json`,
    { onGpu: true },
  );
  const source = { store: weights.store, path: model };
  const stored = scenario.weights && (await outputsAsStored(scenario, source, precision));
  using engine = await Engine.create({
    precision,
    ...(scenario.budget !== undefined && { memoryBudget: scenario.budget }),
  });
  using session = await createSession(source, {
    engine,
    ...(scenario.weights && { weights: scenario.weights }),
  });
  const reference = await referenceOf(scenario);
  const inputs = feeds(session, scenario, reference);
  const cold = performance.now();
  const outputs = await session.run(inputs);
  const relativeL2 = await compare(outputs, reference);
  await checkFinite(outputs, 'an output');
  const coldMs = performance.now() - cold;
  const relativeL2ToStored = stored && (await distance(outputs, stored));
  release(outputs);

  await checkLargeInputs(session, scenario);

  const once = async (): Promise<number> => {
    const started = performance.now();
    const results = await session.run(inputs);
    await engine.device.queue.onSubmittedWorkDone();
    const elapsed = performance.now() - started;
    release(results);
    return elapsed;
  };
  const warm = performance.now();
  while (performance.now() - warm < WARM_UP_MS) await once();
  const times: number[] = [];
  for (let i = 0; i < options.runs; i++) times.push(await once());
  times.sort((a, b) => a - b);

  let profile: Measurement['profile'];
  if (options.profile) {
    const result = await session.profile(inputs);
    profile = result.dispatches;
    release(result.outputs);
  }
  const { steps, buffers, weightBytes, intermediateBytes } = await session.plan(inputs);
  const given = buffers.filter(({ content }) => content.kind === 'input' || content.kind === 'output');
  const plannedBytes = given.reduce((sum, { bytes }) => sum + bytes, weightBytes + intermediateBytes);
  return {
    row: {
      scenario: scenario.name,
      engine: 'calotype',
      flags,
      precision,
      medianMs: times[Math.floor(times.length / 2)]!,
      minMs: times[0]!,
      maxMs: times.at(-1)!,
      runs: times.length,
      relativeL2,
      ...(relativeL2ToStored !== undefined && { relativeL2ToStored }),
      weightBytes,
      plannedBytes,
      peakBytes: engine.buffers.peakBytes,
      dispatches: steps.filter((step) => step.phase !== 'load').length,
      coldMs,
    },
    profile,
  };
}

type Reference = ReturnType<typeof readSafetensors>;

/** Inputs and outputs of a run in float32, where the fixtures hold one. */
async function referenceOf(scenario: GraphScenario): Promise<Reference | undefined> {
  if (!scenario.reference) return undefined;
  const response = await fetch(`/fixtures/full-size/${scenario.reference}.reference.safetensors`);
  return response.ok ? readSafetensors(new Uint8Array(await response.arrayBuffer())) : undefined;
}

/**
 * The reference's own inputs where their shapes are this scenario's, else the hash fill they are made of too.
 *
 * @param largest scales floats so that this is the largest
 */
function feeds(
  session: Session,
  scenario: GraphScenario,
  reference: Reference | undefined,
  largest?: number,
): Record<string, Tensor> {
  return Object.fromEntries(
    session.inputs.map(({ name, dtype, shape: declared }) => {
      const wanted = scenario.shapes[name];
      if (!wanted || !dtype || dtype === 'string')
        throw new Error(`${scenario.name}: no shape for input '${name}'`);
      const shape = declared?.length === 0 ? [] : wanted;
      const elements = shape.reduce((product, dim) => product * dim, 1);
      const given = reference?.get(name);
      if (given && given.shape.join() === shape.join() && given.dtype === 'I64') {
        const ids = Array.from(new BigInt64Array(given.data.slice().buffer), Number);
        return [name, Tensor.from(dtype, shape, ids)];
      }
      const values = hashFill(name, elements);
      if (name === 'timestep') values.fill(981);
      else if (largest !== undefined && dtype.startsWith('float')) {
        const most = values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
        values.forEach((value, i) => (values[i] = (value / most) * largest));
      }
      // Token ids: anything in the vocabulary takes the same time.
      else if (dtype.startsWith('int'))
        values.forEach((value, i) => (values[i] = Math.floor((value + 2) * 50)));
      return [name, Tensor.from(dtype, shape, values)];
    }),
  );
}

/** What the same graph gives with its weights as stored, before the engine under test takes its memory. */
async function outputsAsStored(
  scenario: GraphScenario,
  source: ModelSource,
  precision: Precision,
): Promise<Map<string, ArrayLike<number>>> {
  using engine = await Engine.create({ precision });
  using session = await createSession(source, { engine });
  const outputs = await session.run(feeds(session, scenario, await referenceOf(scenario)));
  const numbers = new Map<string, ArrayLike<number>>();
  for (const [name, tensor] of Object.entries(outputs)) numbers.set(name, await numbersOf(tensor));
  release(outputs);
  return numbers;
}

/** Relative L2 of the outputs that the reference holds. */
async function compare(
  outputs: Record<string, Tensor>,
  reference: Reference | undefined,
): Promise<number | null> {
  const expected = new Map<string, ArrayLike<number>>();
  for (const [name, tensor] of Object.entries(outputs)) {
    const given = reference?.get(name);
    if (given?.dtype !== 'F32' || given.shape.join() !== tensor.shape.join()) continue;
    expected.set(name, new Float32Array(given.data.slice().buffer));
  }
  return expected.size > 0 ? distance(outputs, expected) : null;
}

/** Largest relative L2 of the outputs that `expected` holds. */
async function distance(
  outputs: Record<string, Tensor>,
  expected: ReadonlyMap<string, ArrayLike<number>>,
): Promise<number> {
  let worst = 0;
  for (const [name, values] of expected) {
    const numbers = await numbersOf(outputs[name]!);
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < values.length; i++) {
      difference += (numbers[i]! - values[i]!) ** 2;
      norm += values[i]! ** 2;
    }
    const error = Math.sqrt(difference / norm);
    // NaN compares as false and must not get lost.
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

/** Runs with inputs near the end of f16, so that activations come there: nothing may become infinite or NaN. */
async function checkLargeInputs(session: Session, scenario: GraphScenario): Promise<void> {
  const outputs = await session.run(feeds(session, scenario, undefined, LARGEST_INPUT));
  await checkFinite(outputs, 'with inputs near the end of f16, an output');
  release(outputs);
}

async function checkFinite(outputs: Record<string, Tensor>, what: string): Promise<void> {
  for (const [name, tensor] of Object.entries(outputs)) {
    if (!tensor.dtype.startsWith('float')) continue;
    const numbers = await numbersOf(tensor);
    for (let i = 0; i < numbers.length; i++) {
      if (!Number.isFinite(numbers[i])) throw new Error(`${what} ('${name}') is ${numbers[i]} at ${i}`);
    }
  }
}

async function numbersOf(tensor: Tensor): Promise<ArrayLike<number>> {
  const wide = tensor.gpu ? new Tensor('float32', tensor.shape, tensor.gpu) : tensor;
  return (await wide.data()) as Float32Array;
}

function release(outputs: Record<string, Tensor>): void {
  for (const tensor of Object.values(outputs)) tensor.dispose();
}
