import { createSession, mapStore, Tensor, type Engine, type NumericType } from '@calotype/core';
import type { Model, ModelNode, ModelValue } from '@calotype/core/tools';
import type { Feed } from './inputs.ts';
import { difference } from './metrics.ts';
import { runOnCpu, type Outputs } from './ort.ts';
import { fromNumbers, outputNumbers } from './reference.ts';
import { wholeModel } from './whole-model.ts';

const QUANTIZE = 'DynamicQuantizeLinear';

/** Whether a graph rounds activations to levels of their own range. */
export function roundsActivations({ graph }: Model): boolean {
  return graph.nodes.some(({ op }) => op === QUANTIZE);
}

/** How a graph compares with onnxruntime where every rounding starts from what onnxruntime rounds there. */
interface RoundingReport {
  /** Activations that are rounded. */
  roundings: number;
  /** Elements of those, and how many of them onnxruntime rounds to another level: ties, and others. */
  elements: number;
  ties: number;
  otherLevels: number;
  /** The largest relative L2 of all values to be rounded, of scales and of the graph's outputs, and where it is. */
  relL2: number;
  worst: string;
}

/**
 * Rounding makes a step of what was the last bit of a float, and the layers after it make more of that step. So the
 * graph is cut before each rounding: every `DynamicQuantizeLinear` gets the value that onnxruntime has there, and what
 * the graph computes up to there becomes an output. Each part is then compared by itself, in one run.
 */
export async function compareBetweenRoundings(
  engine: Engine,
  model: Model,
  feeds: ReadonlyMap<string, Feed>,
): Promise<RoundingReport> {
  const roundings = model.graph.nodes.filter(({ op }) => op === QUANTIZE);
  const own = new Set(model.graph.inputs.map(({ name }) => name));
  const rounded = new Set(roundings.map(({ inputs }) => inputs[0]!).filter((name) => !own.has(name)));
  const levels = roundings.map(({ outputs }) => outputs[0]!);
  const scales = roundings.map(({ outputs }) => outputs[1]!);
  const zeroPoints = roundings.map(({ outputs }) => outputs[2]!);

  const outputs = new Map(model.graph.outputs.map((value) => [value.name, value]));
  const show = (name: string, dtype: NumericType): unknown =>
    outputs.set(name, { name, dtype, shape: undefined });
  for (const name of [...rounded, ...scales]) show(name, 'float32');
  for (const name of [...levels, ...zeroPoints]) show(name, 'uint8');
  const open: Model = { ...model, graph: { ...model.graph, outputs: [...outputs.values()] } };
  const { bytes, externalData } = await wholeModel(open);
  const expected = await runOnCpu(bytes, feeds, externalData);

  const given = new Map<string, Feed>(feeds);
  for (const name of rounded) {
    const { shape, values } = expected.get(name)!;
    given.set(givenName(name), { dtype: 'float32', shape: [...shape], values });
  }
  const actual = await runHere(engine, cut(open, rounded, given), given);

  const report: RoundingReport = {
    roundings: roundings.length, elements: 0, ties: 0, otherLevels: 0, relL2: 0, worst: '',
  }; // prettier-ignore
  const valueOf = (name: string): ArrayLike<number> => (expected.get(name) ?? feeds.get(name)!).values;
  const roundingOf = new Map(
    roundings.map(({ inputs: [x], outputs: [level, scale] }) => [
      level!,
      { x: valueOf(x!), scale: valueOf(scale!)[0]! },
    ]),
  );
  const integers = new Set([...levels, ...zeroPoints]);
  for (const [name, { values }] of expected) {
    const ours = actual.get(name)!.values;
    if (integers.has(name)) {
      report.elements += values.length;
      const rounding = roundingOf.get(name);
      for (let i = 0; i < values.length; i++) {
        const off = Math.abs(ours[i]! - values[i]!);
        if (off === 0) continue;
        if (off === 1 && rounding && isTie(rounding.x[i]! / rounding.scale)) report.ties++;
        else report.otherLevels++;
      }
      continue;
    }
    const { relL2 } = difference(ours, values);
    if (relL2 <= report.relL2) continue;
    report.relL2 = relL2;
    report.worst = name;
  }
  return report;
}

/**
 * Whether a quotient is as near the middle between two levels as two divisions may move it, its own and its scale's:
 * 2.5 units in the last place each in WGSL (https://www.w3.org/TR/WGSL/#floating-point-accuracy), half of one in
 * onnxruntime.
 */
function isTie(quotient: number): boolean {
  const ulp = 2 ** (Math.floor(Math.log2(Math.abs(quotient))) - 23);
  return Math.abs(Math.abs(quotient % 1) - 0.5) <= 6 * ulp;
}

const givenName = (name: string): string => `${name}/given`;

/** The graph with the values named as inputs of their roundings. */
function cut(model: Model, rounded: ReadonlySet<string>, given: ReadonlyMap<string, Feed>): Model {
  const { nodes, inputs } = model.graph;
  const isCut = (node: ModelNode): boolean => node.op === QUANTIZE && rounded.has(node.inputs[0]!);
  const more = [...rounded].map((name): ModelValue => {
    const { dtype, shape } = given.get(givenName(name))!;
    return { name: givenName(name), dtype: dtype as NumericType, shape };
  });
  return {
    ...model,
    graph: {
      ...model.graph,
      inputs: [...inputs, ...more],
      nodes: nodes.map((node) => (isCut(node) ? { ...node, inputs: [givenName(node.inputs[0]!)] } : node)),
    },
  };
}

async function runHere(engine: Engine, model: Model, feeds: ReadonlyMap<string, Feed>): Promise<Outputs> {
  const { bytes, externalData } = await wholeModel(model);
  const store = mapStore({
    'model.onnx': bytes,
    ...Object.fromEntries(externalData.map(({ path, data }) => [path, data])),
  });
  using session = await createSession({ store, path: 'model.onnx' }, { engine });
  const inputs: Record<string, Tensor> = {};
  for (const [name, { dtype, shape, values }] of feeds) {
    inputs[name] = new Tensor(dtype as NumericType, shape, fromNumbers(dtype, values));
  }
  const results = new Map<string, { shape: readonly number[]; values: ArrayLike<number> }>();
  for (const [name, output] of Object.entries(await session.run(inputs))) {
    results.set(name, { shape: output.shape, values: outputNumbers(output.dtype, await output.data()) });
    output.dispose();
  }
  return results;
}
