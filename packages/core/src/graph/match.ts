import { toNumbers } from '../onnx/elements.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { GraphEditor } from './edit.ts';
import type { Node, Value } from './graph.ts';

// Small words that patterns are written in.

/** The node that gives the value, when it is one of these operators of ONNX. */
export function producerOf(
  graph: GraphEditor,
  value: Value | undefined,
  ...ops: readonly string[]
): Node | undefined {
  const node = value && graph.producer(value);
  return node?.domain === '' && ops.includes(node.op) ? node : undefined;
}

/** The only user of the value, when it is one of these operators of ONNX. */
export function userOf(graph: GraphEditor, value: Value, ...ops: readonly string[]): Node | undefined {
  const node = graph.soleUser(value);
  return node?.domain === '' && ops.includes(node.op) ? node : undefined;
}

/** The number that a constant of one element holds. */
export function scalarOf(value: Value | undefined): number | undefined {
  return value?.origin.kind === 'constant' && value.origin.data.length === 1
    ? value.origin.data[0]
    : undefined;
}

/** Elements of a constant, or of a weight small enough to lie in the model's structure. */
export function dataOf(value: Value | undefined): Float64Array | undefined {
  if (value?.origin.kind === 'constant') return value.origin.data;
  if (value?.origin.kind !== 'weight' || value.origin.ref.data.kind !== 'inline') return undefined;
  const { ref } = value.origin;
  return ref.dtype === 'string' || ref.data.kind !== 'inline'
    ? undefined
    : toNumbers(ref.dtype, ref.data.bytes, sizeOf(ref.dims));
}

/** A node's operands as [found, other] where the first passes the test, whichever side it stands on. */
export function eitherOrder<T>(
  node: Node,
  test: (value: Value) => T | undefined,
): { found: T; value: Value; other: Value } | undefined {
  const [a, b] = node.inputs;
  if (!a || !b) return undefined;
  for (const [value, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const found = test(value);
    if (found !== undefined) return { found, value, other };
  }
  return undefined;
}

/** Whether two numbers are the same but for rounding, to half precision by default. */
export function near(actual: number | undefined, wanted: number, tolerance = 1e-3): boolean {
  return actual !== undefined && Math.abs(actual - wanted) <= tolerance * Math.abs(wanted);
}

/**
 * Whether the value holds one number for each index of `axis` when it broadcasts to a shape of that rank: [C, 1, 1] for
 * the channels of [N, C, H, W].
 */
export function isPerIndex(value: Value, axis: number, rank: number, size: number): boolean {
  const { shape } = value;
  const own = axis - rank + shape.length;
  return shape.length <= rank && shape[own] === size && sizeOf(shape) === size;
}
