import { buildTemplate } from '../src/graph/build.ts';
import type { Graph } from '../src/graph/graph.ts';
import { optimise } from '../src/graph/passes/index.ts';
import type { Pass } from '../src/graph/passes/pass.ts';
import { GraphEditor } from '../src/graph/edit.ts';
import { specialize } from '../src/graph/specialize.ts';
import type { GraphTemplate } from '../src/graph/template.ts';
import { verify } from '../src/graph/verify.ts';
import { readModel } from '../src/onnx/reader.ts';
import type { CpuTensor, TensorType } from '../src/ops/op.ts';
import { mapStore } from '../src/source/map-store.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import { interpret } from './interpret.ts';
import { model, type ModelSpec, type NodeSpec, type TensorSpec } from './onnx-writer.ts';

/** The template of a model written out and read back. */
export async function templateOf(spec: ModelSpec): Promise<GraphTemplate> {
  const store = mapStore({ 'model.onnx': model(spec) });
  return buildTemplate(await readModel(store, 'model.onnx'), 'model.onnx');
}

/** A model at concrete shapes: those of `shapes` by input name, else what the model declares. */
export async function specialized(
  spec: ModelSpec,
  shapes: Readonly<Record<string, readonly number[]>> = {},
  values: ReadonlyMap<string, CpuTensor> = new Map(),
): Promise<Graph> {
  const template = await templateOf(spec);
  const types = template.inputs.map(({ name, dtype, shape }): [string, TensorType] => {
    return [name, { dtype, shape: shapes[name] ?? (shape as number[]) }];
  });
  const graph = await specialize(template, new Map(types), values);
  verify(graph, 'specialize');
  return graph;
}

/** Runs some passes alone, verifying after each. */
export function runPasses(graph: Graph, ...passes: Pass[]): Graph {
  const editor = new GraphEditor(graph);
  for (const pass of passes) {
    pass.run(editor);
    verify(editor.commit(), pass.name);
  }
  return graph;
}

/**
 * Optimises a model and checks, in double precision on random inputs, that it still computes the same.
 *
 * @returns the optimised graph
 */
export async function optimised(
  spec: ModelSpec,
  shapes: Readonly<Record<string, readonly number[]>> = {},
  tolerance = 1e-5,
): Promise<Graph> {
  const plain = await specialized(spec, shapes);
  const feeds = new Map(
    plain.inputs.map(({ name, shape, dtype }, i) => [name, noise(sizeOf(shape), i, dtype)]),
  );
  const wanted = await interpret(plain, feeds);
  const graph = optimise(await specialized(spec, shapes), verify);
  const actual = await interpret(graph, feeds);
  for (const [name, numbers] of wanted) {
    const error = relativeError(actual.get(name)!, numbers);
    if (!(error <= tolerance)) throw new Error(`'${name}' is off by ${error} after optimisation`);
  }
  return graph;
}

/** L2 norm of the difference over that of `wanted`. */
export function relativeError(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (actual.length !== wanted.length) return Infinity;
  let [difference, total] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    difference += (actual[i]! - wanted[i]!) ** 2;
    total += wanted[i]! ** 2;
  }
  return Math.sqrt(difference / (total || 1));
}

/** Reproducible numbers around zero; small whole ones for integers. */
export function noise(length: number, seed: number, dtype = 'float32'): Float64Array {
  let state = (seed + 1) * 0x9e3779b9;
  return Float64Array.from({ length }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5;
    const unit = (state >>> 8) / 2 ** 24;
    if (dtype === 'bool') return Number(unit > 0.3);
    return dtype.startsWith('float') ? Math.fround(2 * unit - 1) : Math.floor(unit * 3);
  });
}

/** A float32 weight of random numbers. */
export function randomWeight(dims: readonly number[], seed: number = dims.length): TensorSpec {
  return { dtype: 'float32', dims, floats: Array.from(noise(sizeOf(dims), seed)) };
}

/** `node('Add', 'a b', 'c')`. An operand `_` is absent. */
export function node(
  op: string,
  inputs: string,
  outputs: string,
  attributes: NodeSpec['attributes'] = {},
  domain = '',
): NodeSpec {
  const names = (text: string): string[] => text.split(' ').filter(Boolean).map((name) => (name === '_' ? '' : name)); // prettier-ignore
  return {
    op,
    name: outputs.split(' ')[0]!,
    domain,
    inputs: names(inputs),
    outputs: names(outputs),
    attributes,
  };
}
