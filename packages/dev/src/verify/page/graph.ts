import {
  createSession,
  Engine,
  Tensor,
  urlStore,
  type ByteSource,
  type FileStore,
  type NumericType,
  type Session,
} from '@calotype/core';
import { readModel } from '@calotype/core/tools';
import { float16Bits } from '../../hash-fill.ts';
import type { FixtureOf, Precision, Verdict, VerifyOptions } from '../types.ts';
import { feedsFor, type Feed } from './inputs.ts';
import { beforeRounding, difference, worse, type Difference } from './metrics.ts';
import { nudged } from './nudge.ts';
import { runOnCpu, type Outputs } from './ort.ts';
import { compareBetweenRoundings, roundsActivations } from './rounding.ts';
import {
  fetchFixture,
  fetchTensors,
  fixtureUrl,
  float16Value,
  fromNumbers,
  outputNumbers,
  toNumbers,
} from './reference.ts';
import { hashedWeights, lacksWeights } from './weights.ts';
import { widened } from './widen.ts';

/** Largest relative L2 distance of a graph's output from a float32 reference. */
const graphBar: Record<Precision, number> = { f32: 1e-4, f16: 2e-2, 'packed-f16': 2e-2 };

/** The same against onnxruntime, which rounds quantized graphs as it goes. */
const compareBar: Record<Precision, number> = { f32: 1e-3, f16: 2e-2, 'packed-f16': 2e-2 };

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
    const expected = await wideOutputs(hashed.store, fixture.model, feeds);
    const note = `${hashed.unlisted.length} weights are neither there nor listed, so the reference cannot be met; onnxruntime on the CPU, in float32, stands in`;
    return await judge(session, feeds, expected, graphBar[options.precision], note);
  }
  const expected: Outputs = new Map(
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
  { model }: FixtureOf<'compare'>,
  options: VerifyOptions,
): Promise<Verdict> {
  if (await lacksWeights(model)) {
    return {
      status: 'unsupported',
      path: '–',
      detail: 'its weights are left out, and nothing says what they were',
    };
  }
  using engine = await Engine.create({ precision: options.precision });
  using session = await createSession(fixtureUrl(model), { engine });
  const feeds = feedsFor(session.inputs, new Map());
  const bar = compareBar[options.precision];
  const folder = urlStore(fixtureUrl(''));
  const read = await readModel(folder, model);
  if ([...read.graph.initializers.values()].some(({ dtype }) => dtype === 'float16')) {
    const note = 'reference: onnxruntime on the CPU, in float32 with weights rounded to float16';
    const expected = await wideOutputs(folder, model, feeds);
    return await judge(session, feeds, expected, graphBar[options.precision], note);
  }
  const expected = await cpuOutputs(model, feeds);
  if (roundsActivations(read)) {
    const between = await compareBetweenRoundings(engine, read, feeds);
    const reach = reachOf(between.relL2);
    const own = await spread(model, feeds, expected, reach);
    const isExact = between.relL2 <= bar && (options.precision !== 'f32' || between.otherLevels === 0);
    const note =
      `reference: onnxruntime on the CPU. Between roundings, each given its input: relative L2 at most ` +
      `${between.relL2.toExponential(2)} at ${between.worst} (may be ${bar}), ${between.otherLevels + between.ties} of ${between.elements} levels in ` +
      `${between.roundings} differ, ${between.ties} of them ties. End to end onnxruntime comes ${own.toExponential(2)} from itself where ` +
      `float32 constants are moved by up to ${reach} units in the last place, and that far this may be from it`;
    return await judge(session, feeds, expected, isExact ? Math.max(bar, own) : bar, note);
  }
  return await judge(session, feeds, expected, bar, 'reference: onnxruntime on the CPU');
}

/**
 * As many units in the last place as the two differ by between roundings, at most 16: as far as sums of some hundred
 * terms in another order move a result.
 */
function reachOf(relL2: number): number {
  return Math.min(16, Math.max(1, Math.round(relL2 * 2 ** 24)));
}

/** Runs with nudged constants that `spread` compares with each other and with the model's own. */
const NUDGED_RUNS = 4;

/** How far onnxruntime's results for the same graph are apart where its constants are moved that little. */
async function spread(
  model: string,
  feeds: ReadonlyMap<string, Feed>,
  own: Outputs,
  reach: number,
): Promise<number> {
  const runs = [own];
  let most = 0;
  for (let seed = 1; seed <= NUDGED_RUNS; seed++) {
    const run = await runOnCpu(await nudged(model, seed, reach), feeds);
    for (const other of runs) most = Math.max(most, distance(run, other).relL2);
    runs.push(run);
  }
  return most;
}

/** The same inputs for the graph in float32, of the values that float16 can hold. */
function inFloat32(feeds: ReadonlyMap<string, Feed>): Map<string, Feed> {
  return new Map(
    [...feeds].map(([name, feed]) => {
      if (feed.dtype !== 'float16') return [name, feed];
      const values = Float32Array.from(feed.values, (value) => float16Value(float16Bits(value)));
      return [name, { ...feed, dtype: 'float32', values }];
    }),
  );
}

function distance(actual: Outputs, expected: Outputs): Difference {
  let total: Difference = { maxAbs: 0, relL2: 0 };
  for (const [name, { shape, values }] of expected) {
    const output = actual.get(name);
    if (!output) throw new Error(`The run gave no output '${name}'.`);
    if (output.shape.join() !== shape.join()) {
      throw new Error(
        `Output '${name}' is [${output.shape.join(', ')}], the reference [${shape.join(', ')}].`,
      );
    }
    total = worse(total, difference(output.values, values));
  }
  return total;
}

/** What onnxruntime computes where the graph has float32 in place of float16. */
async function wideOutputs(
  store: FileStore,
  path: string,
  feeds: ReadonlyMap<string, Feed>,
): Promise<Outputs> {
  const { bytes, externalData } = await widened(await readModel(store, path));
  return runOnCpu(bytes, inFloat32(feeds), externalData);
}

async function cpuOutputs(path: string, feeds: ReadonlyMap<string, Feed>): Promise<Outputs> {
  const external = (await externalFiles(path)).map(async (file) => {
    const data = await file.read(0, await file.size());
    return { path: file.name.slice(file.name.lastIndexOf('/') + 1), data };
  });
  return runOnCpu(await fetchFixture(path), feeds, await Promise.all(external));
}

/** Files of weights beside a model. */
async function externalFiles(path: string): Promise<ByteSource[]> {
  const { graph } = await readModel(urlStore(fixtureUrl('')), path);
  const sources = [...graph.initializers.values()].flatMap(({ data }) =>
    data.kind === 'range' ? [data.source] : [],
  );
  return [...new Set(sources)].filter(({ name }) => !name.endsWith('.onnx'));
}

async function judge(
  session: Session,
  feeds: ReadonlyMap<string, Feed>,
  expected: Outputs,
  bar: number,
  note?: string,
): Promise<Verdict> {
  const inputs: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, values }] of feeds) {
    inputs[name] = new Tensor(dtype as NumericType, shape, fromNumbers(dtype, values));
  }
  const outputs = await session.run(inputs);
  const actual = new Map<string, { shape: readonly number[]; values: ArrayLike<number> }>();
  for (const [name, output] of Object.entries(outputs)) {
    const reference = expected.get(name)?.values;
    let values = reference ? outputNumbers(output.dtype, await output.data()) : [];
    // Its own rounding, some 2e-4 of relative L2, is no error of a graph that promises float16.
    if (reference && output.dtype === 'float16') values = beforeRounding(values, reference);
    actual.set(name, { shape: output.shape, values });
    output.dispose();
  }
  const total = distance(actual, expected);
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
