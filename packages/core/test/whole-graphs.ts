import { readFile } from 'node:fs/promises';
import { fixturesDir } from '@calotype/dev/fixtures';
import { buildTemplate } from '../src/graph/build.ts';
import type { Graph } from '../src/graph/graph.ts';
import { optimise } from '../src/graph/passes/index.ts';
import { specialize } from '../src/graph/specialize.ts';
import { verify } from '../src/graph/verify.ts';
import { readModel } from '../src/onnx/reader.ts';
import type { TensorType } from '../src/ops/op.ts';
import { mapStore } from '../src/source/map-store.ts';

// Whole models as graphs that can be planned, at concrete shapes and after all passes.

/** What exporters call the dimensions that they leave open, for one picture of 512 pixels. */
const usual: Readonly<Record<string, number>> = {
  batch: 1,
  batch_size: 1,
  steps: 1,
  sequence: 77,
  sequence_length: 77,
  text_sequence: 77,
  height: 64,
  width: 64,
};

/** @param dims sizes of open dimensions, where they are not the usual ones */
export async function graphOf(
  path: string | URL,
  dims: Readonly<Record<string, number>> = {},
): Promise<Graph> {
  const store = mapStore({ 'model.onnx': new Uint8Array(await readFile(path)) });
  const model = await readModel(store, 'model.onnx', { allowMissingExternalData: true });
  const template = await buildTemplate(model, 'model.onnx');
  const sizes = { ...usual, ...dims };
  const types = template.inputs.map((input): [string, TensorType] => {
    const shape = input.shape!.map((dim) => (typeof dim === 'number' ? dim : sizes[dim!]!));
    return [input.name, { dtype: input.dtype, shape }];
  });
  const graph = optimise(await specialize(template, new Map(types)));
  verify(graph, 'all passes');
  return graph;
}

const fullSizeGraphs = new Map<string, Promise<Graph>>();

/** A model at its true size, of which the fixtures have all but the weights. Each is read once. */
export function fullSizeGraph(name: string, latent = 64): Promise<Graph> {
  const key = `${name} ${latent}`;
  const graph =
    fullSizeGraphs.get(key) ??
    graphOf(`${fixturesDir}/full-size/${name}.onnx`, { height: latent, width: latent });
  fullSizeGraphs.set(key, graph);
  return graph;
}
