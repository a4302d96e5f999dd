import type { TensorRef } from '../onnx/model.ts';
import type { DataType } from '../tensor/dtype.ts';
import { isFloat } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Block, TemplateNode } from './template.ts';

/** A constant that a product or a convolution multiplies by. */
export interface WeightInfo {
  /** Name of the initializer. Old exporters call those of products `onnx::MatMul_1624`. */
  readonly name: string;
  readonly dtype: DataType;
  /** As the file has it. */
  readonly shape: Shape;
  /**
   * Paths of the PyTorch modules that it belongs to, from its own name, the exporter's notes, or the names of the nodes
   * that use it: `unet.down_blocks.0.attentions.0.proj_in`. More than one where modules share it.
   */
  readonly modules: readonly string[];
  readonly outFeatures: number;
  /** Of one group. */
  readonly inFeatures: number;
  /** Sizes of a convolution's window; empty for a product. */
  readonly kernel: readonly number[];
  /** Whether the file holds integers: updates are computed beside it then, not merged into it. */
  readonly quantized: boolean;
}

/** The same with what updating it takes. */
export interface WeightUses extends WeightInfo {
  readonly ref: TensorRef;
  /** Elements of the file's tensor between neighbours along each axis of [out, in, tap]. */
  readonly strides: readonly [out: number, input: number, tap: number];
  readonly groups: number;
  /** Nodes that multiply by it. */
  readonly nodes: readonly TemplateNode[];
}

type Layout = Pick<WeightUses, 'outFeatures' | 'inFeatures' | 'kernel' | 'strides' | 'groups'>;

/** Products and convolutions by `domain:op`; all take the weight as their operand 1. */
const readers: Readonly<
  Record<string, (dims: Shape, node: TemplateNode, turned: boolean) => Layout | undefined>
> = {
  ':MatMul': (dims, _, turned) => product(dims, turned),
  ':Gemm': (dims, node, turned) => product(dims, turned !== isSet(node, 'transB')),
  ':MatMulInteger': (dims, _, turned) => product(dims, turned),
  ':Conv': convolution,
  ':ConvInteger': convolution,
  'com.microsoft:FusedMatMul': (dims, node, turned) => product(dims, turned !== isSet(node, 'transB')),
  'com.microsoft:FusedGemm': (dims, node, turned) => product(dims, turned !== isSet(node, 'transB')),
  'com.microsoft:GemmFastGelu': (dims, _, turned) => product(dims, turned),
  'com.microsoft:FusedConv': convolution,
  'com.microsoft:NhwcConv': channelsLast,
  'com.microsoft:MatMulNBits': (_, node) => product([intOf(node, 'N', 0), intOf(node, 'K', 0)], true),
};

/** Lists the weights of products and convolutions outside of branches and loops. */
export function weightUses(block: Block): Map<string, WeightUses> {
  const producers = new Map<string, TemplateNode>();
  for (const node of block.nodes) for (const name of node.outputs) producers.set(name, node);
  const found = new Map<string, WeightUses>();
  for (const node of block.nodes) {
    const read = readers[`${node.domain}:${node.op}`];
    const source = read && trace(node.inputs[1] ?? '', block, producers);
    if (!source) continue;
    const { ref, name, turned } = source;
    const layout = read(ref.dims, node, turned);
    const known = found.get(name);
    if (!layout) continue;
    const modules = modulesOf(name, node);
    if (known) {
      const all = [...new Set([...known.modules, ...modules])];
      found.set(name, { ...known, modules: all, nodes: [...known.nodes, node] });
      continue;
    }
    const quantized = !isFloat(ref.dtype);
    found.set(name, {
      name, dtype: ref.dtype, shape: ref.dims, ref, quantized, modules, ...layout, nodes: [node],
    }); // prettier-ignore
  }
  return found;
}

/** The initializer behind an operand, through what only changes its type or turns it. */
function trace(
  operand: string,
  block: Block,
  producers: ReadonlyMap<string, TemplateNode>,
): { name: string; ref: TensorRef; turned: boolean } | undefined {
  let turned = false;
  for (let name = operand; ;) {
    const ref = block.weights.get(name);
    if (ref) return { name, ref, turned };
    const node = producers.get(name);
    if (!node) return undefined;
    if (node.op === 'Transpose') {
      const perm = node.attributes.get('perm');
      if (perm && (perm.type !== 'ints' || perm.value.join() !== '1,0')) return undefined;
      turned = !turned;
    } else if (!['Cast', 'CastLike', 'Identity', 'DequantizeLinear'].includes(node.op)) return undefined;
    name = node.inputs[0] ?? '';
  }
}

/** @param turned whether the tensor is [out, in] in place of MatMul's [in, out] */
function product(dims: Shape, turned: boolean): Layout | undefined {
  const [rows, columns] = dims;
  if (dims.length !== 2 || !rows || !columns) return undefined;
  return turned
    ? { outFeatures: rows, inFeatures: columns, kernel: [], strides: [columns, 1, 1], groups: 1 }
    : { outFeatures: columns, inFeatures: rows, kernel: [], strides: [1, columns, 1], groups: 1 };
}

function convolution(dims: Shape, node: TemplateNode, turned: boolean): Layout | undefined {
  const [outFeatures, inFeatures, ...kernel] = dims;
  if (!outFeatures || !inFeatures || turned) return undefined;
  const taps = kernel.reduce((size, dim) => size * dim, 1);
  const groups = intOf(node, 'group', 1);
  return { outFeatures, inFeatures, kernel, strides: [inFeatures * taps, taps, 1], groups };
}

function channelsLast(dims: Shape, node: TemplateNode, turned: boolean): Layout | undefined {
  const first = [dims[0]!, dims.at(-1)!, ...dims.slice(1, -1)];
  const layout = convolution(first, node, turned);
  const inFeatures = dims.at(-1)!;
  return layout && { ...layout, strides: [layout.strides[0], 1, inFeatures] };
}

function modulesOf(weight: string, node: TemplateNode): string[] {
  // Quantizers append to the name: `to_q.weight_quantized`, `to_q.weight_Q4`.
  const named = /^(.+)\.weight(?:_\w+)?$/.exec(weight)?.[1];
  if (named !== undefined) return [named];
  if (node.module !== undefined) return [node.module];
  const scopes = /^\/(.+)\/[^/]+$/.exec(node.name)?.[1];
  return scopes === undefined ? [] : [scopes.replaceAll('/', '.')];
}

function intOf(node: TemplateNode, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === 'int' ? attribute.value : fallback;
}

function isSet(node: TemplateNode, name: string): boolean {
  return intOf(node, name, 0) !== 0;
}
