import { UnsupportedOpError } from '../errors.ts';
import type { Expr } from '../graph/expr.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { elementwise } from '../kernels/elementwise/elementwise.ts';
import { lookup } from '../ops/registry.ts';
import { equalShapes } from '../tensor/shape.ts';
import { PlanBuilder, type BuilderOptions } from './builder.ts';
import { planMemory } from './memory.ts';
import type { Phase, Plan, Step, TensorView } from './plan.ts';
import { denseOrder, rowMajor, type Order } from './view.ts';

/**
 * Turns an optimised graph into dispatches over planned buffers. Pure: needs no GPU, the same input gives the same plan.
 *
 * @throws UnsupportedOpError naming every node that has no kernel
 */
export function planGraph(graph: Graph, options: BuilderOptions): Plan {
  refuseUnsupported(graph);
  const builder = new PlanBuilder(graph, options);
  for (const node of graph.nodes) {
    builder.enter(node);
    lowerNode(node, builder);
  }
  builder.enter(undefined);
  const outputs = new Map<string, TensorView>();
  for (const value of graph.outputs) outputs.set(value.name, builder.output(value));

  const order: readonly Phase[] = ['load', 'request', 'run'];
  const steps = order.flatMap((phase) => builder.steps.filter((step) => step.phase === phase));
  const memory = planMemory(builder.buffers, needed(steps, builder));
  const place = (view: TensorView): TensorView => ({ ...view, buffer: memory.moved[view.buffer]! });
  const inputs = new Map<string, TensorView>();
  for (const value of graph.inputs) {
    const view = builder.view(value);
    if (memory.moved[view.buffer] !== undefined) inputs.set(value.name, place(view));
  }
  const resident = new Set(
    memory.steps
      .filter((step) => step.phase !== 'load')
      .flatMap((step) => (step.kind === 'dispatch' ? step.buffers : [])),
  );
  return {
    precision: options.precision,
    buffers: memory.buffers,
    steps: memory.steps,
    inputs,
    outputs: new Map([...outputs].map(([name, view]) => [name, place(view)])),
    weightBytes: memory.buffers.reduce(
      (sum, buffer, id) => sum + (buffer.phase === 'load' && resident.has(id) ? buffer.bytes : 0),
      0,
    ),
    intermediateBytes: memory.intermediateBytes,
  };
}

function refuseUnsupported(graph: Graph): void {
  const refused = graph.nodes.flatMap((node) => {
    const definition = lookup(node.domain, node.op);
    const reason = !definition
      ? 'has no WebGPU kernel'
      : (definition.refuse?.(node) ??
        (definition.lower || definition.elementwise ? undefined : 'has no WebGPU kernel'));
    return reason === undefined
      ? []
      : [{ op: node.op, domain: node.domain, opset: node.opset, node: node.name, reason }];
  });
  if (refused.length > 0) throw new UnsupportedOpError(refused);
}

function lowerNode(node: Node, builder: PlanBuilder): void {
  const definition = lookup(node.domain, node.op)!;
  if (definition.lower) definition.lower(node, builder);
  else lowerElementwise(node, definition.elementwise!(node), builder);
}

/** One dispatch for an expression over a node's inputs. */
export function lowerElementwise(node: Node, expr: Expr, builder: PlanBuilder): void {
  const [output] = node.outputs;
  const operands = node.inputs.flatMap((value) => (value ? [builder.view(value)] : []));
  const view = builder.allocate(output!, { order: orderLike(operands, output!.shape) });
  builder.dispatch(elementwise(`elementwise_${view.storage}`, expr, operands, view));
}

/** The memory order of the first dense operand that has the output's shape, so that layouts carry through. */
export function orderLike(operands: readonly TensorView[], shape: readonly number[]): Order {
  for (const operand of operands) {
    if (!equalShapes(operand.shape, shape)) continue;
    const order = denseOrder(operand);
    if (order) return order;
  }
  return rowMajor(shape.length);
}

/** Drops steps whose results nobody reads (a packed weight whose only user was folded away, an unused output). */
function needed(steps: readonly Step[], builder: PlanBuilder): Step[] {
  const live = new Set<number>();
  builder.buffers.forEach((buffer, id) => {
    if (buffer.content.kind === 'output') live.add(id);
  });
  const kept: Step[] = [];
  for (const step of [...steps].reverse()) {
    const [reads, writes] =
      step.kind === 'dispatch'
        ? [
            step.buffers.filter((_, i) => step.kernel.bindings[i] === 'read'),
            step.buffers.filter((_, i) => step.kernel.bindings[i] === 'write'),
          ]
        : [step.inputs.map(({ view }) => view.buffer), step.outputs.map(({ view }) => view.buffer)];
    if (!writes.some((id) => live.has(id))) continue;
    for (const id of reads) live.add(id);
    kept.push(step);
  }
  return kept.reverse();
}
