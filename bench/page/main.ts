import { createSession, Engine, Tensor, urlStore, type NumericType, type Session } from '@calotype/core';
import { hashedWeights } from '@calotype/dev/hashed-weights';
import { hashFill } from '@calotype/dev/hash-fill';
import { readSafetensors } from '@calotype/dev/safetensors';
import type { GraphScenario } from '../scenarios.ts';
import type { BenchOptions, BenchPage, Measurement } from '../types.ts';

/** Runs before the first measured one: clocks ramp up for about a second. */
const WARM_UP_MS = 1500;

declare global {
  var calotypeBench: BenchPage;
}

globalThis.calotypeBench = {
  async adapter() {
    using engine = await Engine.create();
    return { name: engine.capabilities.adapter, precision: engine.precision };
  },
  run,
};

async function run(scenario: GraphScenario, options: BenchOptions): Promise<Measurement> {
  const { precision, flags } = options;
  const model = `full-size/${scenario.graph}.onnx`;
  const weights = await hashedWeights(
    urlStore(new URL('/fixtures/', location.href).href),
    model,
    `full-size/${scenario.graph}.weights.json`,
  );
  using engine = await Engine.create({ precision });
  using session = await createSession({ store: weights.store, path: model }, { engine });
  const inputs = feeds(session, scenario);
  const cold = performance.now();
  const outputs = await session.run(inputs);
  const relativeL2 = await compare(outputs, scenario);
  const coldMs = performance.now() - cold;
  release(outputs);

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
  const { steps } = await session.plan(inputs);
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
      peakBytes: engine.buffers.peakBytes,
      dispatches: steps.filter((step) => step.phase !== 'load').length,
      coldMs,
    },
    profile,
  };
}

function feeds(session: Session, scenario: GraphScenario): Record<string, Tensor> {
  return Object.fromEntries(
    session.inputs.map(({ name, dtype }) => {
      const shape = scenario.shapes[name];
      if (!shape || !dtype || dtype === 'string')
        throw new Error(`${scenario.name}: no shape for input '${name}'`);
      const elements = shape.reduce((product, dim) => product * dim, 1);
      const values = hashFill(name, elements);
      if (name === 'timestep') values.fill(981);
      // Token ids: anything in the vocabulary takes the same time.
      else if (dtype.startsWith('int'))
        values.forEach((value, i) => (values[i] = Math.floor((value + 2) * 50)));
      return [name, Tensor.from(dtype as NumericType, shape, values)];
    }),
  );
}

/** Relative L2 of the first output that the reference holds, at the reference's inputs. */
async function compare(outputs: Record<string, Tensor>, scenario: GraphScenario): Promise<number | null> {
  if (!scenario.reference) return null;
  const response = await fetch(`/fixtures/full-size/${scenario.reference}.reference.safetensors`);
  const reference = readSafetensors(new Uint8Array(await response.arrayBuffer()));
  for (const [name, tensor] of Object.entries(outputs)) {
    const expected = reference.get(name);
    if (!expected || expected.shape.join() !== tensor.shape.join()) continue;
    if (scenario.shapes['input_ids']) return null;
    const values = new Float32Array(expected.data.slice().buffer);
    const numbers = await numbersOf(tensor);
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < values.length; i++) {
      difference += (numbers[i]! - values[i]!) ** 2;
      norm += values[i]! ** 2;
    }
    return Math.sqrt(difference / norm);
  }
  return null;
}

async function numbersOf(tensor: Tensor): Promise<ArrayLike<number>> {
  const wide = tensor.gpu ? new Tensor('float32', tensor.shape, tensor.gpu) : tensor;
  return (await wide.data()) as Float32Array;
}

function release(outputs: Record<string, Tensor>): void {
  for (const tensor of Object.values(outputs)) tensor.dispose();
}
