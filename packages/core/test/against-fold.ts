import { expect } from 'vitest';
import type { Engine } from '../src/gpu/engine.ts';
import { input } from '../src/graph/expr.ts';
import { OWN_DOMAIN, type Value } from '../src/graph/graph.ts';
import type { CpuTensor } from '../src/ops/op.ts';
import { lookup } from '../src/ops/registry.ts';
import type { Capabilities, Precision } from '../src/plan/capabilities.ts';
import { isFloat } from '../src/tensor/dtype.ts';
import { fromFloat16, toFloat16 } from '../src/tensor/float16.ts';
import { sizeOf, type Shape } from '../src/tensor/shape.ts';
import type { NumericType } from '../src/tensor/tensor.ts';
import { runGraph, TestGraph } from './run-graph.ts';

/** An operand of a case. Without data: floats that f16 holds exactly. */
export interface FoldOperand {
  shape: Shape;
  dtype?: NumericType;
  data?: readonly number[];
  /** Known on the CPU, or raw bytes of a file; computed on the GPU without. */
  known?: 'constant' | 'weight';
}

export interface FoldCase {
  name: string;
  op: string;
  operands: FoldOperand[];
  attributes?: Record<string, number | string | readonly number[]>;
  opset?: number;
  outputs?: number;
  limits?: Partial<Capabilities['limits']>;
  adapter?: string;
}

/** How float operands lie in memory: row-major, or with their axes in reverse order. */
export type Layout = 'row-major' | 'reversed';

/**
 * Runs an operator on the GPU and compares with what its `fold` computes, which ONNX's node tests check. Float operands
 * and results are stored as `precision` says. Only for operators that move elements: equality is exact.
 */
export async function compareWithFold(
  test: FoldCase,
  { engine, precision, layout }: { engine: Engine; precision: Precision; layout: Layout },
): Promise<void> {
  const graph = new TestGraph();
  const known: CpuTensor[] = test.operands.map(({ shape, dtype = 'float32', data }, k) => ({
    dtype,
    shape,
    data: Float64Array.from(data ?? exact(sizeOf(shape), k)),
  }));
  const inputs = test.operands.map((operand, k) => feed(graph, operand, known[k]!, layout, k));
  const { attributes = {}, opset = 21, outputs = 1 } = test;
  const results = graph.node(test.op, inputs, attributes, { opset, outputs });
  const node = graph.graph.nodes.at(-1)!;
  const expected = lookup('', test.op)!.fold!(node, known);
  const copies = results.map((result) => (isFloat(result.dtype) ? stored(graph, result) : result));
  const { outputs: actual } = await runGraph(graph, copies, {
    engine,
    precision,
    limits: test.limits ?? {},
    ...(test.adapter !== undefined && { adapter: test.adapter }),
  });
  results.forEach((result, k) => {
    expect(actual[k]!.shape, result.name).toEqual([...result.shape]);
    // Results of f16 arithmetic on exact operands are the nearest halves.
    const nearest = precision === 'f32' || !isFloat(result.dtype) ? expected[k]! : expected[k]!.map(asHalf);
    expect(Array.from(actual[k]!.data), result.name).toEqual(Array.from(nearest));
  });
}

function feed(
  graph: TestGraph,
  operand: FoldOperand,
  { dtype, shape, data }: CpuTensor,
  layout: Layout,
  k: number,
): Value {
  const name = `x${k}`;
  if (operand.known === 'constant') return graph.constant(Array.from(data), shape, dtype);
  if (operand.known === 'weight') return graph.weight(name, { shape, data, dtype: dtype as NumericType });
  const isMoved = layout === 'reversed' && isFloat(dtype);
  const reversed = [...shape].toReversed();
  const tensor = { shape: isMoved ? reversed : shape, data: isMoved ? transposed(data, shape) : data };
  const value = graph.input(name, { ...tensor, dtype: dtype as NumericType });
  if (!isFloat(dtype)) return value;
  const memory = stored(graph, value);
  return isMoved ? graph.node('Transpose', [memory])[0]! : memory;
}

/** A copy that is stored as the precision says. */
function stored(graph: TestGraph, value: Value): Value {
  return graph.node('Elementwise', [value], {}, { domain: OWN_DOMAIN, expr: input(0) })[0]!;
}

/** The same elements with the axes reversed. */
function transposed(data: Float64Array, shape: Shape): Float64Array {
  const result = new Float64Array(data.length);
  data.forEach((x, i) => {
    let rest = i;
    let to = 0;
    // Walking the axes from the last to the first gives the new index from its most significant digit on.
    for (const dim of shape.toReversed()) {
      to = to * dim + (rest % dim);
      rest = Math.floor(rest / dim);
    }
    result[to] = x;
  });
  return result;
}

const asHalf = (x: number): number => fromFloat16(toFloat16(x));

/** Multiples of 1/64 that differ from their neighbours. */
function exact(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => (((i + 1) * 37 + seed * 11) % 128) / 64 - 1);
}
