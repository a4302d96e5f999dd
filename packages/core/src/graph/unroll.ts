import type { UnsupportedOpError } from '../errors.ts';
import { intAttribute, intsAttribute } from '../ops/operands.ts';
import { normalizeAxis } from '../tensor/shape.ts';
import { constantValue, type Emitter, attributeMap, newestRules } from './emit.ts';
import type { Node, Value } from './graph.ts';
import type { Block, TemplateNode } from './template.ts';

/** What unrolling needs of the specializer. */
export interface Unroll {
  node: TemplateNode;
  inputs: readonly (Value | undefined)[];
  emitter: Emitter;
  /** Runs the body once; gives its results. */
  run: (body: Block, args: readonly Value[]) => Promise<Value[]>;
  /** The elements of a small value, computed now. */
  know: (value: Value, what: string) => Promise<Float64Array>;
  refuse: (reason: string) => UnsupportedOpError;
}

/**
 * `Scan`: the body once for every step along the scanned axes, which are known.
 *
 * @returns final states, then what the steps give, joined along an axis
 */
export async function unrollScan(unroll: Unroll): Promise<Value[]> {
  const { node, run, refuse } = unroll;
  const inputs = present(unroll, unroll.inputs);
  const body = bodyOf(unroll);
  if (node.opset < 9) throw refuse('Scan of operator set 8 has batches');
  const scanned = inputs.slice(inputs.length - intAttributeOf(node, 'num_scan_inputs'));
  const axes = listOf(node, 'scan_input_axes', scanned.length);
  const backwards = listOf(node, 'scan_input_directions', scanned.length);
  const sources = scanned.map((value, k) => ({
    value,
    axis: normalizeAxis(axes[k]!, value.shape.length, node.name),
  }));
  let states = inputs.slice(0, inputs.length - scanned.length);
  const steps = sources[0] ? sources[0].value.shape[sources[0].axis]! : 0;
  const rows: Value[][] = body.results.slice(states.length).map(() => []);
  for (let step = 0; step < steps; step++) {
    const taken = sources.map(({ value, axis }, k) =>
      pick(unroll, value, axis, backwards[k] ? steps - 1 - step : step),
    );
    const results = await run(body, [...states, ...taken]);
    rows.forEach((list, k) => list.push(results[states.length + k]!));
    states = results.slice(0, states.length);
  }
  const outputAxes = listOf(node, 'scan_output_axes', rows.length);
  const outputsBackwards = listOf(node, 'scan_output_directions', rows.length);
  const stacked = rows.map((list, k) =>
    stack(unroll, outputsBackwards[k] ? list.toReversed() : list, outputAxes[k]!),
  );
  return [...states, ...stacked];
}

/**
 * `Loop`: the body as often as a trip count and conditions say that are known beforehand.
 *
 * @returns final values of what is carried along, then what the steps give, stacked
 */
export async function unrollLoop(unroll: Unroll): Promise<Value[]> {
  const { inputs, run, know } = unroll;
  const body = bodyOf(unroll);
  const [count, condition, ...initial] = inputs;
  const limit = count ? (await know(count, 'its trip count'))[0]! : Infinity;
  let carried = present(unroll, initial);
  const rows: Value[][] = body.results.slice(1 + carried.length).map(() => []);
  let goesOn = condition ? (await know(condition, 'its condition'))[0] !== 0 : true;
  for (let step = 0; step < limit && goesOn; step++) {
    const index = constantValue('iteration', [step], [], 'int64');
    const going = constantValue('condition', [1], [], 'bool');
    const results = await run(body, [index, going, ...carried]);
    rows.forEach((list, k) => list.push(results[1 + carried.length + k]!));
    carried = results.slice(1, 1 + carried.length);
    goesOn = (await know(results[0]!, 'its condition'))[0] !== 0;
  }
  return [...carried, ...rows.map((list) => stack(unroll, list, 0))];
}

/** Operands none of which may be left out. */
function present({ refuse }: Unroll, operands: readonly (Value | undefined)[]): Value[] {
  return operands.map((value) => {
    if (!value) throw refuse('an operand is missing');
    return value;
  });
}

function bodyOf({ node, refuse }: Unroll): Block {
  const body = node.blocks.get('body');
  if (!body) throw refuse('its body is missing');
  return body;
}

function intAttributeOf(node: TemplateNode, name: string): number {
  return intAttribute({ ...node, inputs: [], outputs: [] } satisfies Node, name, 0);
}

function listOf(node: TemplateNode, name: string, length: number): number[] {
  const zeros = new Array<number>(length).fill(0);
  return intsAttribute({ ...node, inputs: [], outputs: [] } satisfies Node, name, zeros);
}

function emit(
  { node, emitter }: Unroll,
  op: string,
  inputs: Value[],
  attributes: Record<string, number> = {},
): Value {
  const parts = { op, domain: '', name: `${node.name}/${op}`, opset: newestRules, inputs };
  return emitter.emit({ ...parts, attributes: attributeMap(attributes) }, [parts.name])[0]!;
}

/** One slice of an axis, without the axis. */
function pick(unroll: Unroll, value: Value, axis: number, index: number): Value {
  return emit(unroll, 'Gather', [value, constantValue('step', [index], [], 'int64')], { axis });
}

function stack(unroll: Unroll, rows: readonly Value[], axis: number): Value {
  const [first] = rows;
  if (!first) throw unroll.refuse('no step is taken, so that what it gives has no known shape');
  const own = normalizeAxis(axis, first.shape.length + 1, unroll.node.name);
  const axes = constantValue('axes', [own], [1], 'int64');
  const parts = rows.map((row) => emit(unroll, 'Unsqueeze', [row, axes]));
  return parts.length === 1 ? parts[0]! : emit(unroll, 'Concat', parts, { axis: own });
}
