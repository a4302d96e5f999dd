import { createSession, Engine, Tensor, urlStore, type NumericType, type Session } from '@calotype/core';
import type { FixtureOf, Precision, Verdict, VerifyOptions } from '../types.ts';
import { feedsFor, type Feed } from './inputs.ts';
import { difference, worse, type Difference } from './metrics.ts';
import { runOnCpu } from './ort.ts';
import {
  fetchFixture,
  fetchTensors,
  fixtureUrl,
  fromNumbers,
  outputNumbers,
  toNumbers,
} from './reference.ts';
import { hashedWeights, type HashedWeights } from './weights.ts';

/** Expected values of the outputs compared; shapes must be equal. */
type Expected = ReadonlyMap<string, { shape: readonly number[]; values: ArrayLike<number> }>;

/** Largest relative L2 distance of a graph's output from a float32 reference. */
const graphBar: Record<Precision, number> = { f32: 1e-4, f16: 2e-2, 'packed-f16': 2e-2 };

/** The same against onnxruntime, which rounds quantized graphs as it goes. */
const compareBar: Record<Precision, number> = { f32: 1e-3, f16: 2e-2, 'packed-f16': 2e-2 };

/** Weights rounded to float16 against the float32 they were: 11 bits each, through some hundred layers. */
const roundedWeightsBar = 5e-3;

/** A graph against the reference beside it. */
export async function verifyGraph(fixture: FixtureOf<'graph'>, options: VerifyOptions): Promise<Verdict> {
  const given = await fetchTensors(fixture.reference);
  const folder = urlStore(fixtureUrl(''));
  const hashed = fixture.weights ? await hashedWeights(folder, fixture.model, fixture.weights) : undefined;
  using engine = await Engine.create({ precision: options.precision });
  using session = await createSession({ store: hashed?.store ?? folder, path: fixture.model }, { engine });
  const feeds = feedsFor(session.inputs, given);
  if (hashed?.unlisted.length) {
    // Whatever made the reference had values for these that nobody wrote down.
    const expected = await cpuOutputs(fixture.model, feeds, hashed);
    const note = `${hashed.unlisted.length} weights are neither there nor listed, so the reference cannot be met; onnxruntime on the CPU stands in`;
    return await judge(session, feeds, expected, compareBar[options.precision], note);
  }
  const expected: Expected = new Map(
    session.outputs.flatMap(({ name }) => {
      const tensor = given.get(name);
      return tensor ? [[name, { shape: tensor.shape, values: toNumbers(tensor) }] as const] : [];
    }),
  );
  if (!expected.size) throw new Error(`${fixture.reference} holds none of the graph's outputs.`);
  return await judge(session, feeds, expected, graphBar[options.precision]);
}

/** A graph without reference against onnxruntime. */
export async function verifyAgainstOnnxruntime(
  fixture: FixtureOf<'compare'>,
  options: VerifyOptions,
): Promise<Verdict> {
  using engine = await Engine.create({ precision: options.precision });
  using session = await createSession(fixtureUrl(fixture.model), { engine });
  const feeds = feedsFor(session.inputs, new Map());
  const bar = compareBar[options.precision];
  let expected: Expected;
  try {
    expected = await cpuOutputs(fixture.model, feeds);
  } catch (error) {
    if (!fixture.original || !String(error).includes('invalid model')) throw error;
    const floats = new Map([...feeds].map(([name, feed]) => [name, { ...feed, dtype: widened(feed.dtype) }]));
    expected = await cpuOutputs(fixture.original, floats);
    const note = `onnxruntime calls this graph invalid; ${fixture.original} stands in`;
    return await judge(session, feeds, expected, Math.max(bar, roundedWeightsBar), note);
  }
  return await judge(session, feeds, expected, bar, 'reference: onnxruntime on the CPU');
}

function widened(dtype: string): string {
  return dtype === 'float16' ? 'float32' : dtype;
}

async function cpuOutputs(
  path: string,
  feeds: ReadonlyMap<string, Feed>,
  hashed?: HashedWeights,
): Promise<Expected> {
  const external = (hashed?.files ?? []).map(async (file) => {
    const data = await file.read(0, await file.size());
    return { path: file.name.slice(file.name.lastIndexOf('/') + 1), data };
  });
  return runOnCpu(await fetchFixture(path), feeds, await Promise.all(external));
}

async function judge(
  session: Session,
  feeds: ReadonlyMap<string, Feed>,
  expected: Expected,
  bar: number,
  note?: string,
): Promise<Verdict> {
  const inputs: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, values }] of feeds) {
    inputs[name] = new Tensor(dtype as NumericType, shape, fromNumbers(dtype, values));
  }
  const outputs = await session.run(inputs);
  let total: Difference = { maxAbs: 0, relL2: 0 };
  for (const [name, { shape, values }] of expected) {
    const output = outputs[name];
    if (!output) throw new Error(`The run gave no output '${name}'.`);
    if (output.shape.join() !== shape.join()) {
      throw new Error(
        `Output '${name}' is [${output.shape.join(', ')}], the reference [${shape.join(', ')}].`,
      );
    }
    total = worse(total, difference(outputNumbers(output.dtype, await output.data()), values));
    output.dispose();
  }
  const passed = total.relL2 <= bar;
  const notes = [passed ? undefined : `relative L2 may be at most ${bar}`, note].filter(
    (line) => line !== undefined,
  );
  return {
    status: passed ? 'passed' : 'failed',
    path: await pathOf(session, inputs),
    ...total,
    ...(notes.length && { detail: notes.join('; ') }),
  };
}

/** What runs the session for these inputs, in a few words. */
async function pathOf(session: Session, inputs: Record<string, Tensor>): Promise<string> {
  const { steps } = await session.plan(inputs);
  const islands = steps.filter((step) => step.kind === 'island');
  const dispatches = `webgpu, ${steps.length - islands.length} dispatches`;
  return islands.length ? `${dispatches}, ${islands.length} islands` : dispatches;
}
