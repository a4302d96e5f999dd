import { lookup } from '../../ops/registry.ts';
import { equalShapes, type Shape } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { attributeMap } from '../emit.ts';
import type { Node, Value } from '../graph.ts';
import { producerOf } from '../match.ts';
import { permOf } from './canonicalize.ts';
import { isElementwise } from './fuse-elementwise.ts';
import type { Pass } from './pass.ts';

/**
 * Moves elementwise work from after a Reshape or Transpose to before it, where it can be the epilogue of what came
 * before: the residual of a transformer block is added in [N, C, H, W], while its last product gives [N, H·W, C].
 */
export const hoistElementwise: Pass = {
  name: 'hoist-elementwise',
  run(graph) {
    for (const node of graph.nodes()) {
      if (graph.has(node) && isElementwise(node)) hoist(graph, node);
    }
  },
};

function hoist(graph: GraphEditor, node: Node): void {
  const shape = node.outputs[0]!.shape;
  for (const value of node.inputs) {
    const views = value && equalShapes(value.shape, shape) ? viewsBefore(graph, value, node) : [];
    const source = views.at(-1)?.inputs[0];
    if (!source || !isHosted(graph, source, views.at(-1)!)) continue;
    // If another operand could be finished where it is, moving away from it gains nothing.
    if (node.inputs.some((operand) => operand !== value && isHosted(graph, operand!, node))) continue;
    const shapes = node.inputs.map((operand) =>
      operand === value ? source.shape : undone(operand!.shape, views),
    );
    if (shapes.includes(undefined)) continue;
    const inputs = node.inputs.map((operand) => (operand === value ? source : undo(graph, operand!, views)));
    const { op, domain, name, expr } = node;
    const result = node.outputs[0]!;
    let moved = graph.add({ op, domain, name, inputs, expr: expr! }, [
      { dtype: result.dtype, shape: source.shape },
    ])[0]!;
    for (const view of [...views].reverse().slice(0, -1)) moved = redo(graph, moved, view);
    const last = views[0]!;
    graph.redefine(result, redone(graph, moved, last));
    return;
  }
}

/** Views that lead to the value, the nearest first, as long as nobody else looks at what is between. */
function viewsBefore(graph: GraphEditor, value: Value, user: Node): Node[] {
  const views: Node[] = [];
  let [at, only] = [value, user];
  for (
    let node = producerOf(graph, at, 'Reshape', 'Transpose');
    node;
    node = producerOf(graph, at, 'Reshape', 'Transpose')
  ) {
    if (graph.soleUser(at) !== only) return [];
    views.push(node);
    [at, only] = [node.inputs[0]!, node];
  }
  return graph.soleUser(at) === only ? views : [];
}

/** Whether `user` could become part of an epilogue if it read the value as it is, maybe after a bias is added. */
function isHosted(graph: GraphEditor, value: Value, user: Node): boolean {
  const host = graph.producer(value);
  if (!host || graph.soleUser(value) !== user) return false;
  if (lookup(host.domain, host.op)?.acceptsEpilogue) return host.outputs[0] === value;
  return (
    isElementwise(host) &&
    host.inputs.some((operand) => {
      return equalShapes(operand!.shape, value.shape) && isHosted(graph, operand!, host);
    })
  );
}

/** An operand of the moved node: seen backwards through the views. */
function undo(graph: GraphEditor, value: Value, views: readonly Node[]): Value {
  return views.reduce((at, view) => {
    const full = aligned(at.shape, view.outputs[0]!.shape.length);
    const tall = graph.reshape(at, full);
    if (view.op === 'Reshape') return graph.reshape(tall, unreshaped(full, view)!);
    return graph.transpose(tall, inverse(permOf(view)));
  }, value);
}

/** The shape that `undo` gives; `undefined` where it cannot. */
function undone(shape: Shape, views: readonly Node[]): Shape | undefined {
  return views.reduce<Shape | undefined>((at, view) => {
    const full = at && aligned(at, view.outputs[0]!.shape.length);
    if (!full || view.op === 'Reshape') return full && unreshaped(full, view);
    return inverse(permOf(view)).map((axis) => full[axis]!);
  }, shape);
}

/** With leading ones up to a rank. */
function aligned(shape: Shape, rank: number): Shape {
  return [...new Array<number>(rank - shape.length).fill(1), ...shape];
}

function inverse(perm: readonly number[]): number[] {
  return perm.map((_, axis) => perm.indexOf(axis));
}

/**
 * The shape before a Reshape of a tensor that broadcasts to what comes after it. Where several axes became one or one
 * became several, it must have all of them or none.
 */
function unreshaped(shape: Shape, view: Node): Shape | undefined {
  const [before, after] = [view.inputs[0]!.shape, view.outputs[0]!.shape];
  const result: number[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    const [firstOld, firstNew] = [i, j];
    let [old, now] = [before[i++] ?? 1, after[j++] ?? 1];
    while (old !== now) {
      if (old < now) old *= before[i++] ?? NaN;
      else now *= after[j++] ?? NaN;
      if (Number.isNaN(old) || Number.isNaN(now)) return undefined;
    }
    const own = shape.slice(firstNew, j);
    if (own.every((dim) => dim === 1)) result.push(...before.slice(firstOld, i).map(() => 1));
    else if (own.every((dim, k) => dim === after[firstNew + k])) result.push(...before.slice(firstOld, i));
    else return undefined;
  }
  return result;
}

function redo(graph: GraphEditor, value: Value, view: Node): Value {
  return view.op === 'Reshape'
    ? graph.reshape(value, view.outputs[0]!.shape)
    : graph.transpose(value, permOf(view));
}

function redone(
  graph: GraphEditor,
  value: Value,
  view: Node,
): Pick<Node, 'op' | 'name' | 'inputs' | 'attributes'> {
  const { name } = view;
  if (view.op === 'Transpose') {
    return { op: 'Transpose', name, inputs: [value], attributes: attributeMap({ perm: permOf(view) }) };
  }
  const target: Shape = view.outputs[0]!.shape;
  const shape = graph.constant([...target], [target.length], 'int64', `${name}/shape`);
  return { op: 'Reshape', name, inputs: [value, shape], attributes: new Map() };
}
