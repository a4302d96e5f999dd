import { OutOfMemoryError, UnsupportedOpError, type UnsupportedOp } from '../errors.ts';
import type { Expr, ScalarType } from '../graph/expr.ts';
import { OWN_DOMAIN, type Graph, type Node } from '../graph/graph.ts';
import { elementwise } from '../kernels/elementwise/elementwise.ts';
import { lookup } from '../ops/registry.ts';
import { equalShapes } from '../tensor/shape.ts';
import { PlanBuilder, type BuilderOptions } from './builder.ts';
import { bordersOf, islandModel } from './island-model.ts';
import { buffersOf, planMemory, type MemoryPlan } from './memory.ts';
import { partition, type IslandNodes, type Section } from './partition.ts';
import type { BufferId, OperatorCount, Phase, Plan, Step, Storage, TensorView } from './plan.ts';
import { quantizableLayers } from './quantizable.ts';
import { splitExpr } from './split-expr.ts';
import { denseOrder, rowMajor, type Order } from './view.ts';

const order: readonly Phase[] = ['load', 'request', 'run'];

export interface PlanOptions extends BuilderOptions {
  /** Whether nodes without kernels may become islands. Otherwise they are refused. */
  islands?: boolean;
}

/**
 * Turns an optimised graph into dispatches over planned buffers. Pure: needs no GPU, the same input gives the same plan.
 *
 * @throws UnsupportedOpError naming every node that has no kernel
 * @throws OutOfMemoryError for a tensor larger than the device can bind
 */
export function planGraph(graph: Graph, options: PlanOptions): Plan {
  const quantizes = options.weights === 'int8' || options.weights === 'int4';
  const builder = new PlanBuilder(graph, {
    ...options,
    ...(quantizes && { quantizable: options.quantizable ?? quantizableLayers(graph) }),
  });
  const sections = sectionsOf(graph, options.islands ?? false);
  for (const section of sections) {
    if (section.kind === 'node') {
      builder.enter(section.node);
      lowerNode(section.node, builder);
    } else {
      builder.enter(undefined);
      lowerIsland(section.island, graph, builder);
    }
  }
  builder.enter(undefined);
  return finish(builder, graph, countOperators(sections));
}

/**
 * A plan of what `lower` emits instead of a graph's nodes: it has to give the graph's outputs their memory. For trying
 * kernels out.
 */
export function planByHand(
  graph: Graph,
  options: BuilderOptions,
  lower: (builder: PlanBuilder) => void,
): Plan {
  const builder = new PlanBuilder(graph, options);
  lower(builder);
  return finish(builder, graph, []);
}

function finish(builder: PlanBuilder, graph: Graph, operators: OperatorCount[]): Plan {
  const outputs = new Map<string, TensorView>();
  for (const value of graph.outputs) outputs.set(value.name, builder.output(value));

  settlePhases(builder);
  const steps = order.flatMap((phase) => builder.steps.filter((step) => step.phase === phase));
  const live = needed(steps, builder);
  const memory = planMemory(builder.buffers, live);
  checkSizes(builder, memory);
  const place = (view: TensorView): TensorView => ({ ...view, buffer: memory.moved[view.buffer]! });
  const inputs = new Map<string, TensorView>();
  for (const value of graph.inputs) {
    const view = builder.view(value);
    if (memory.moved[view.buffer] !== undefined) inputs.set(value.name, place(view));
  }
  const resident = new Set(memory.steps.filter((step) => step.phase !== 'load').flatMap(buffersOf));
  return {
    precision: builder.precision,
    buffers: memory.buffers,
    steps: memory.steps,
    inputs,
    outputs: new Map([...outputs].map(([name, view]) => [name, place(view)])),
    weightBytes: memory.buffers.reduce(
      (sum, buffer, id) => sum + (buffer.phase === 'load' && resident.has(id) ? buffer.bytes : 0),
      0,
    ),
    intermediateBytes: memory.intermediateBytes,
    operators,
    tuned: [...builder.tuned],
    quantized: builder.quantizedWeights((id) => memory.moved[id] !== undefined),
    joins: builder.joins((id) => live.find((step) => accessOf(step).reads.includes(id))?.label),
  };
}

/** Several steps may write one buffer (a copy, then an update of it): they belong to the latest phase of any of them. */
function settlePhases({ steps, buffers }: PlanBuilder): void {
  for (let isSettled = false; !isSettled;) {
    isSettled = true;
    for (const step of steps) {
      const { reads, writes } = accessOf(step);
      const phases = [step.phase, ...[...reads, ...writes].map((id) => buffers[id]!.phase)];
      const latest = order[Math.max(...phases.map((phase) => order.indexOf(phase)))]!;
      if (latest !== step.phase || writes.some((id) => buffers[id]!.phase !== latest)) isSettled = false;
      step.phase = latest;
      for (const id of writes) buffers[id]!.phase = latest;
    }
  }
}

function accessOf(step: Step): { reads: BufferId[]; writes: BufferId[] } {
  if (step.kind === 'dispatch') {
    const { buffers, kernel } = step;
    return {
      reads: buffers.filter((_, i) => kernel.bindings[i] === 'read'),
      writes: buffers.filter((_, i) => kernel.bindings[i] === 'write'),
    };
  }
  return {
    reads: step.inputs.map(({ view }) => view.buffer),
    writes: step.outputs.map(({ view }) => view.buffer),
  };
}

function checkSizes({ buffers, capabilities: { limits } }: PlanBuilder, { moved }: MemoryPlan): void {
  const largest = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  buffers.forEach(({ bytes, label }, id) => {
    if (bytes <= largest || moved[id] === undefined) return;
    throw new OutOfMemoryError(`'${label}', which has to lie in one buffer`, bytes, largest);
  });
}

/** Why a node has no kernel; `undefined` where it has one. */
export function reasonAgainst(node: Node): string | undefined {
  const definition = lookup(node.domain, node.op);
  if (!definition) return 'it is not defined';
  const refused = definition.refuse?.(node);
  if (refused !== undefined) return refused;
  return definition.lower || definition.elementwise ? undefined : 'it has no WebGPU kernel';
}

function sectionsOf(graph: Graph, islands: boolean): Section[] {
  const sections = partition(graph, reasonAgainst);
  const foreign = sections.flatMap((section) =>
    section.kind === 'island' ? describeIsland(section.island) : [],
  );
  // What only our own operators can say is not ONNX: no other runtime would know it.
  const mayExport = foreign.every(({ domain }) => domain !== OWN_DOMAIN);
  const isPlain = sections.every(
    (section) => section.kind === 'node' || section.island.nodes.every(({ epilogue }) => !epilogue),
  );
  if (foreign.length > 0 && !(islands && mayExport && isPlain)) throw new UnsupportedOpError(foreign);
  return sections;
}

function describeIsland({ nodes, reasons }: IslandNodes): UnsupportedOp[] {
  return nodes.map(({ op, domain, opset, name }, i) => ({
    op,
    domain,
    opset,
    node: name,
    reason: reasons[i]!,
  }));
}

function countOperators(sections: readonly Section[]): OperatorCount[] {
  const counts = new Map<string, OperatorCount>();
  for (const section of sections) {
    const runtime = section.kind === 'node' ? 'webgpu' : 'onnxruntime';
    for (const { op, domain } of section.kind === 'node' ? [section.node] : section.island.nodes) {
      const key = `${runtime} ${domain} ${op}`;
      const count = counts.get(key) ?? { op, domain, nodes: 0, runtime };
      count.nodes++;
      counts.set(key, count);
    }
  }
  return [...counts.values()];
}

function lowerIsland(island: IslandNodes, graph: Graph, builder: PlanBuilder): void {
  const { inputs, outputs } = bordersOf(island.nodes, graph);
  const written = islandModel(island.nodes, inputs, outputs);
  builder.island(
    {
      label: [...new Set(island.nodes.map(({ op }) => op))].join('+'),
      model: written.model,
      weights: written.weights,
      operators: describeIsland(island),
    },
    {
      inputs: inputs.map((value, i) => ({ name: written.inputs[i]!, value })),
      outputs: outputs.map((value, i) => ({ name: written.outputs[i]!, value })),
    },
  );
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
  const most = builder.capabilities.limits.maxStorageBuffersPerShaderStage - 1;
  const parts = splitExpr(expr, operands.length, most);
  parts.forEach((part, k) => {
    const reads = part.operands.map((index) => operands[index]!);
    const result =
      k === parts.length - 1 ? view : builder.scratch(`part${k}`, view.shape, storageOf(part.expr.type));
    builder.dispatch(elementwise(`elementwise_${result.storage}`, part.expr, reads, result));
    operands.push(result);
  });
}

function storageOf(type: ScalarType): Storage {
  return type === 'bool' ? 'u32' : type;
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
  for (const step of steps.toReversed()) {
    const { reads, writes } = accessOf(step);
    if (!writes.some((id) => live.has(id))) continue;
    for (const id of reads) live.add(id);
    kept.push(step);
  }
  return kept.toReversed();
}
