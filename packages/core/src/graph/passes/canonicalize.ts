import type { TensorView } from '../../plan/plan.ts';
import { isDense, reshapeView, transposeView } from '../../plan/view.ts';
import { rowMajorView } from '../../ops/views.ts';
import { equalShapes, type Shape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import { isFloat } from '../../tensor/dtype.ts';
import { intAttribute, intsAttribute, intsOperandOrAttribute, stringAttribute } from '../../ops/operands.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import type { Node, Value } from '../graph.ts';
import { dataOf, eitherOrder, producerOf, scalarOf } from '../match.ts';
import type { Pass } from './pass.ts';

const viewOps = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Transpose']);

/**
 * Removes what does nothing (Identity, casts between floats, Transpose there and back, Mul by 1, …) and writes what
 * remains in one way: Squeeze, Unsqueeze and Flatten are Reshape, chains of Reshape or Transpose are one.
 *
 * Inside a graph all floats are one type: what they are stored as follows from the session's precision. Graph outputs
 * keep their dtype.
 */
export const canonicalize: Pass = {
  name: 'canonicalize',
  run(graph) {
    for (const node of graph.nodes()) {
      if (node.domain !== '' || !graph.has(node)) continue;
      const same = passedThrough(graph, node);
      if (same && graph.replace(node.outputs[0]!, same)) continue;
      if (node.op === 'Slice' && sliceOfConcat(graph, node)) continue;
      mergeViews(graph, node);
    }
  },
};

/** The operand that the node's first result equals. */
function passedThrough(graph: GraphEditor, node: Node): Value | undefined {
  const [x] = node.inputs;
  const [y, ...more] = node.outputs;
  if (!x || !y || more.some((value) => graph.isUsed(value))) return undefined;
  const sameShape = equalShapes(x.shape, y.shape);
  const known = (index: number): number[] => Array.from(dataOf(node.inputs[index]) ?? []);
  switch (node.op) {
    case 'Identity':
      return x;
    case 'Dropout':
      return node.inputs[2] && scalarOf(node.inputs[2]) !== 0 ? undefined : x;
    case 'Cast':
    case 'CastLike':
      return x.dtype === y.dtype || (isFloat(x.dtype) && isFloat(y.dtype)) ? x : undefined;
    case 'Reshape':
    case 'Squeeze':
    case 'Unsqueeze':
    case 'Flatten':
    case 'Expand':
      return sameShape ? x : undefined;
    case 'Concat':
      return node.inputs.length === 1 ? x : undefined;
    case 'Split':
      return node.outputs.length === 1 ? x : undefined;
    case 'Sum':
    case 'Max':
    case 'Min':
      return node.inputs.length === 1 ? x : undefined;
    case 'Transpose':
      return permOf(node).every((axis, i) => axis === i) ? x : undefined;
    case 'Slice':
      return sameShape && known(4).every((step) => step === 1) ? x : undefined;
    case 'Pad':
      return sameShape && (intsOperandOrAttribute(node, 1, 'pads') ?? []).every((pad) => pad === 0)
        ? x
        : undefined;
    case 'Resize':
      return sameShape && keepsPixels(node) ? x : undefined;
    case 'Mul':
      return neutral(node, 1, true);
    case 'Div':
      return neutral(node, 1, false);
    case 'Add':
      return neutral(node, 0, true);
    case 'Sub':
      return neutral(node, 0, false);
    default:
      return undefined;
  }
}

/** The operand that a neutral constant leaves as it is. */
function neutral(node: Node, number: number, commutes: boolean): Value | undefined {
  const test = (value: Value): true | undefined => (scalarOf(value) === number ? true : undefined);
  const other = commutes ? eitherOrder(node, test)?.other : test(node.inputs[1]!) && node.inputs[0];
  return other && equalShapes(other.shape, node.outputs[0]!.shape) ? other : undefined;
}

/** Whether a Resize to the same size reads every pixel where it is. */
function keepsPixels(node: Node): boolean {
  const scales = dataOf(node.inputs[2]) ?? [];
  const crops =
    stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize';
  return !crops && Array.from(scales).every((scale) => scale === 1);
}

export function permOf(node: Node): number[] {
  const rank = node.inputs[0]!.shape.length;
  return intsAttribute(
    node,
    'perm',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  );
}

/** A slice that takes exactly one operand of a Concat. Whether it was one. */
function sliceOfConcat(graph: GraphEditor, node: Node): boolean {
  const concat = producerOf(graph, node.inputs[0], 'Concat');
  const [starts, , axes, steps] = [1, 2, 3, 4].map((index) => dataOf(node.inputs[index]));
  if (!concat || starts?.length !== 1 || (steps && steps[0] !== 1)) return false;
  const { shape } = node.inputs[0]!;
  const [axis, along] = [axes?.[0] ?? 0, intAttribute(concat, 'axis', 0)].map((a) =>
    a < 0 ? a + shape.length : a,
  );
  if (axis !== along) return false;
  let at = starts[0]! < 0 ? starts[0]! + shape[axis!]! : starts[0]!;
  for (const part of concat.inputs) {
    if (at === 0)
      return equalShapes(part!.shape, node.outputs[0]!.shape) && graph.replace(node.outputs[0]!, part!);
    at -= part!.shape[axis!]!;
  }
  return false;
}

/** Views of views up to this depth become one. */
const chainLimit = 6;

/**
 * Writes a chain of Reshape, Squeeze, Unsqueeze, Flatten and Transpose that ends in `node` as one Reshape or Transpose
 * of the farthest value from which one is enough: also where an axis is merged, moved and split again.
 */
function mergeViews(graph: GraphEditor, node: Node): void {
  const [y] = node.outputs;
  if (!y || !viewOps.has(node.op) || sizeOf(y.shape) === 0) return;
  const isPlain = node.op === 'Transpose' || (node.op === 'Reshape' && isPlainReshape(node));
  if (isPlain && !producerOf(graph, node.inputs[0], ...viewOps)) return;
  const chain = [node];
  for (let top = node; chain.length < chainLimit;) {
    const before = producerOf(graph, top.inputs[0], ...viewOps);
    if (!before) break;
    chain.push(before);
    top = before;
  }
  for (let length = chain.length; length > 0; length--) {
    const source = chain[length - 1]!.inputs[0]!;
    const view = chain
      .slice(0, length)
      .reduceRight<TensorView | undefined>(
        (at, { op, outputs }, i) =>
          at &&
          (op === 'Transpose' ? transposeView(at, permOf(chain[i]!)) : reshapeView(at, outputs[0]!.shape)),
        rowMajorView(source),
      );
    if (!view) continue;
    if (isDense(view)) {
      if (equalShapes(source.shape, y.shape)) {
        if (graph.replace(y, source)) return;
        continue;
      }
      if (length === 1 && node.op === 'Reshape' && isPlainReshape(node)) return;
      const shape = graph.constant([...y.shape], [y.shape.length], 'int64', `${node.name}/shape`);
      graph.redefine(y, { op: 'Reshape', name: node.name, inputs: [source, shape] });
      return;
    }
    const perm = permutationTo(source.shape, view);
    if (!perm) continue;
    if (length === 1) return;
    graph.redefine(y, {
      op: 'Transpose',
      name: node.name,
      inputs: [source],
      attributes: attributeMap({ perm }),
    });
    return;
  }
}

/** How the axes of a row-major tensor are permuted in a view of it; `undefined` where the view is something else. */
function permutationTo(shape: Shape, view: TensorView): number[] | undefined {
  const strides = stridesOf(shape);
  const free = new Set(shape.keys());
  const perm: number[] = [];
  for (const [axis, dim] of view.shape.entries()) {
    const from = [...free].find(
      (own) => shape[own] === dim && (dim === 1 || strides[own] === view.strides[axis]),
    );
    if (from === undefined) return undefined;
    free.delete(from);
    perm.push(from);
  }
  return free.size === 0 ? perm : undefined;
}

/** Whether the target says every dimension, as those that passes write do. */
function isPlainReshape(node: Node): boolean {
  const target = dataOf(node.inputs[1]);
  const { shape } = node.outputs[0]!;
  return target?.length === shape.length && shape.every((dim, axis) => dim === target[axis]);
}
