import { evaluate } from '../src/graph/evaluate.ts';
import type { Graph, Node, Value } from '../src/graph/graph.ts';
import { toNumbers } from '../src/onnx/elements.ts';
import { readTensor } from '../src/onnx/reader.ts';
import type { CpuTensor } from '../src/ops/op.ts';
import { floatAttribute, intAttribute, stringAttribute } from '../src/ops/operands.ts';
import { convolutionOf } from '../src/ops/convolution-shape.ts';
import { lookup } from '../src/ops/registry.ts';
import { scalarFunctions } from '../src/graph/scalar-functions.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import { attentionReference } from './reference/attention-4d.ts';
import { convReference } from './reference/conv.ts';
import { matmulReference } from './reference/matmul.ts';
import { groupNorm, normalizeRows } from './reference/normalization.ts';
import { softmaxRows } from './reference/softmax.ts';

/**
 * Computes a graph in double precision on the CPU, node by node: what a graph means, whatever passes made of it. Slow.
 *
 * @param feeds elements of the inputs by name
 * @returns elements of the outputs by name
 */
export async function interpret(
  graph: Graph,
  feeds: ReadonlyMap<string, ArrayLike<number>>,
): Promise<Map<string, Float64Array>> {
  const known = new Map<Value, Float64Array>();
  for (const value of graph.inputs) known.set(value, Float64Array.from(feeds.get(value.name)!));
  const read = async (value: Value): Promise<CpuTensor> => {
    let data = known.get(value);
    if (!data && value.origin.kind === 'constant') data = value.origin.data;
    if (!data && value.origin.kind === 'weight') {
      data = toNumbers(value.dtype, await readTensor(value.origin.ref), sizeOf(value.shape));
      known.set(value, data);
    }
    if (!data) throw new Error(`'${value.name}' is not computed yet`);
    return { dtype: value.dtype, shape: value.shape, data };
  };
  for (const node of graph.nodes) {
    const inputs = await Promise.all(node.inputs.map(async (value) => value && read(value)));
    let results = compute(node, inputs);
    if (node.epilogue) {
      const output = node.outputs[0]!;
      const own = { dtype: output.dtype, shape: output.shape, data: results[0]! };
      const operands = await Promise.all(node.epilogue.inputs.map(read));
      results = [evaluate(node.epilogue.expr, [own, ...operands], output.shape), ...results.slice(1)];
    }
    node.outputs.forEach((value, index) => known.set(value, results[index]!));
  }
  return new Map(graph.outputs.map((value) => [value.name, known.get(value)!]));
}

type Inputs = (CpuTensor | undefined)[];

function compute(node: Node, inputs: Inputs): Float64Array[] {
  const special = operators[node.domain === '' ? node.op : `${node.domain}.${node.op}`];
  if (special) return [special(node, inputs)];
  const definition = lookup(node.domain, node.op);
  if (definition?.fold) return definition.fold(node, inputs);
  if (definition?.elementwise) {
    const present = inputs.filter((tensor) => tensor !== undefined);
    return [evaluate(definition.elementwise(node), present, node.outputs[0]!.shape)];
  }
  throw new Error(`the interpreter has no ${node.domain}.${node.op}`);
}

const operators: Readonly<Record<string, (node: Node, inputs: Inputs) => Float64Array>> = {
  MatMul: (_, [a, b]) => matmulReference(a!, b!).data,
  Gemm(node, [a, b, c]) {
    const side = (tensor: CpuTensor, attribute: string): CpuTensor =>
      intAttribute(node, attribute, 0) ? transposed(tensor) : tensor;
    const product = matmulReference(side(a!, 'transA'), side(b!, 'transB'));
    const alpha = floatAttribute(node, 'alpha', 1);
    const beta = floatAttribute(node, 'beta', 1);
    const bias = c && expanded(c, node.outputs[0]!.shape);
    return product.data.map((x, i) => alpha * x + (bias ? beta * bias[i]! : 0));
  },
  'calotype.GatedMatMul'(node, [x, w, bias]) {
    const { data, shape } = matmulReference(x!, w!);
    const columns = shape.at(-1)!;
    const half = columns / 2;
    const activation = scalarFunctions[stringAttribute(node, 'activation', 'gelu')]!.js;
    const right = intAttribute(node, 'gate', 1) === 1;
    return Float64Array.from({ length: data.length / 2 }, (_, i) => {
      const [row, column] = [Math.floor(i / half), i % half];
      const at = (k: number): number => data[row * columns + k]! + (bias ? bias.data[k]! : 0);
      const [l, r] = [at(column), at(column + half)];
      return right ? l * activation(r) : activation(l) * r;
    });
  },
  Conv(node, [x, w, bias]) {
    const { axes, groups } = convolutionOf(node);
    const factor = intAttribute(node, 'upsample', 1);
    return convReference(factor === 2 ? doubled(x!) : x!, w!, axes.map((axis) => axis.output), {
      strides: axes.map((axis) => axis.stride),
      dilations: axes.map((axis) => axis.dilation),
      pads: axes.map((axis) => axis.pad),
      groups,
      ...(bias && { bias: bias.data }),
    }); // prettier-ignore
  },
  // The graphs at hand double sizes only.
  Resize: (_, [x]) => doubled(x!).data,
  'calotype.GroupNorm'(node, [x, scale, bias]) {
    const channels = x!.shape[1]!;
    const groups = intAttribute(node, 'groups', 1);
    const epsilon = floatAttribute(node, 'epsilon', 1e-5);
    const ones = scale?.data ?? new Float64Array(channels).fill(1);
    return groupNorm(x!.data, x!.shape, groups, epsilon, ones, bias?.data ?? new Float64Array(channels));
  },
  InstanceNormalization: (node, [x, scale, bias]) =>
    groupNorm(
      x!.data,
      x!.shape,
      x!.shape[1]!,
      floatAttribute(node, 'epsilon', 1e-5),
      scale!.data,
      bias!.data,
    ),
  LayerNormalization: (node, inputs) => rowNorm(node, inputs, true),
  RMSNormalization: (node, inputs) => rowNorm(node, inputs, false),
  Softmax: (_, [x]) => softmaxRows(x!.data, x!.shape.at(-1)!),
  ReduceMean(_, [x]) {
    const length = x!.shape.at(-1)!;
    return Float64Array.from({ length: x!.data.length / length }, (_, row) => {
      return x!.data.subarray(row * length, (row + 1) * length).reduce((sum, v) => sum + v, 0) / length;
    });
  },
  'calotype.Attention': (node, [q, k, v, mask]) =>
    attentionReference(q!, k!, v!, mask, {
      scale: floatAttribute(node, 'scale', 1),
      causal: intAttribute(node, 'causal', 0) === 1,
    }),
};

function rowNorm(node: Node, [x, scale, bias]: Inputs, center: boolean): Float64Array {
  const axis = intAttribute(node, 'axis', -1);
  const length = sizeOf(x!.shape.slice(axis));
  const { y } = normalizeRows(x!.data, length, floatAttribute(node, 'epsilon', 1e-5), center);
  const [s, b] = [scale, bias].map((tensor) => tensor && expanded(tensor, x!.shape));
  return y.map((value, i) => value * (s?.[i] ?? 1) + (b?.[i] ?? 0));
}

function transposed({ dtype, shape, data }: CpuTensor): CpuTensor {
  const [rows, columns] = shape as [number, number];
  const turned = Float64Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!);
  return { dtype, shape: [columns, rows], data: turned };
}

function expanded(tensor: CpuTensor, shape: readonly number[]): Float64Array {
  return evaluate({ kind: 'input', index: 0, type: 'f32' }, [tensor], shape);
}

/** Each pixel of [N, C, H, W] four times. */
function doubled({ dtype, shape, data }: CpuTensor): CpuTensor {
  const [n, c, h, w] = shape as [number, number, number, number];
  const result = new Float64Array(data.length * 4);
  for (let i = 0; i < result.length; i++) {
    const [x, y, plane] = [i % (2 * w), Math.floor(i / (2 * w)) % (2 * h), Math.floor(i / (4 * w * h))];
    result[i] = data[(plane * h + (y >> 1)) * w + (x >> 1)]!;
  }
  return { dtype, shape: [n, c, 2 * h, 2 * w], data: result };
}
