import type { Graph, Node, Value } from '../graph/graph.ts';
import { isFloat } from '../tensor/dtype.ts';
import { operandsOf } from '../graph/graph.ts';

const LAYERS = new Set(['Conv', 'ConvTranspose', 'MatMul', 'Gemm', 'GatedMatMul']);
const CONVOLUTIONS = new Set(['Conv', 'ConvTranspose']);

/** Products of an embedding's own network, which every layer of a model depends on. */
const EMBEDDING_LAYERS = 2;

/** What leads to a value. */
interface Path {
  /** Most layers on the way from an input; `undefined` for what depends on weights only. */
  layers: number | undefined;
  /** Whether all inputs that lead here are vectors: a time step, a pooled embedding, sizes. */
  isVector: boolean;
}

/**
 * The nodes whose weights may be quantized: products, convolutions and tables, but
 * - not the first convolution and not the last layer, which see the picture itself;
 * - not the first two products after inputs that are vectors (the time embedding and its like).
 * Norms, biases and positions are no such weights. Layers too small to gain anything are left out when they are packed.
 */
export function quantizableLayers(graph: Graph): ReadonlySet<Node> {
  const paths = new Map<Value, Path>();
  const chosen = new Set<Node>();
  for (const node of graph.nodes) {
    const operands = operandsOf(node);
    const here = joined(operands.map((value) => paths.get(value) ?? pathOf(value)));
    const isLayer = LAYERS.has(node.op) && isWeight(paths, node.inputs[1]);
    const before = joined(
      [node.inputs[0]!].flatMap((value) => (value ? [paths.get(value) ?? pathOf(value)] : [])),
    );
    const isFirst = CONVOLUTIONS.has(node.op) && before.layers === 0 && !before.isVector;
    const isEmbedding = before.isVector && (before.layers ?? 0) < EMBEDDING_LAYERS;
    if (node.op === 'Gather' || (isLayer && !isFirst && !isEmbedding)) chosen.add(node);
    const layers = here.layers === undefined ? undefined : here.layers + (isLayer ? 1 : 0);
    for (const value of node.outputs) paths.set(value, { ...here, layers });
  }
  for (const node of lastLayers(graph, paths)) chosen.delete(node);
  return chosen;
}

function pathOf({ origin, shape, dtype }: Value): Path {
  if (origin.kind !== 'input') return { layers: undefined, isVector: true };
  return { layers: 0, isVector: shape.length < 2 || (shape.length === 2 && isFloat(dtype)) };
}

function joined(paths: readonly Path[]): Path {
  const known = paths.flatMap(({ layers }) => layers ?? []);
  return {
    layers: known.length > 0 ? Math.max(...known) : undefined,
    isVector: paths.every(({ isVector }) => isVector),
  };
}

function isWeight(paths: ReadonlyMap<Value, Path>, value: Value | undefined): boolean {
  return value !== undefined && (paths.get(value) ?? pathOf(value)).layers === undefined;
}

/** Layers after which there is no other. */
function lastLayers(graph: Graph, paths: ReadonlyMap<Value, Path>): Node[] {
  const leadToLayer = new Set<Value>();
  const last: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    const isLayer = LAYERS.has(node.op) && isWeight(paths, node.inputs[1]);
    const leads = node.outputs.some((value) => leadToLayer.has(value));
    if (isLayer && !leads) last.push(node);
    if (isLayer || leads) for (const value of operandsOf(node)) leadToLayer.add(value);
  }
  return last;
}
