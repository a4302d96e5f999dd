import * as ort from 'onnxruntime-web/wasm';
import { describe, expect, test } from 'vitest';
import { createSession } from '../../src/session.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { bytesOf } from '../../src/tensor/dtype.ts';
import { encode, Tensor, toDoubles, type NumericType, type TypedArray } from '../../src/tensor/tensor.ts';
import { pageEngine } from '../engine.ts';
import { model, type AttributeSpec, type NodeSpec, type TensorSpec } from '../onnx-writer.ts';
import { random, rawBytes, relativeL2 } from '../run-graph.ts';

// Threads would need cross-origin isolation.
ort.env.wasm.numThreads = 1;

/** An operand of a case: random floats in [-1, 1), or given numbers. */
export interface CaseOperand {
  shape: Shape;
  dtype?: NumericType;
  /** Numbers row-major; random without. */
  data?: readonly number[];
  /** In the file rather than an input. */
  weight?: boolean;
}

/** One operator with its operands, to be compared with onnxruntime on the CPU. */
export interface OperatorCase {
  name: string;
  op: string;
  domain?: string;
  /** `undefined` for an operand that is absent. */
  operands: (CaseOperand | undefined)[];
  attributes?: Record<string, AttributeSpec>;
  /** Outputs by dtype; `undefined` for one that is not wanted. float32 by default. */
  outputs?: (NumericType | undefined)[];
  /** Other nodes that compute the same from `x0`, `x1`, … into `y0`, …: where onnxruntime has no CPU kernel. */
  reference?: NodeSpec[];
  /** Several nodes in place of the one, from `x0`, `x1`, … to `y0`. `op` names the case only. */
  nodes?: NodeSpec[];
  /** 21 by default. */
  opset?: number;
  /** Whether weights may become floats on the GPU; they may not by default. */
  inflated?: boolean;
  initializers?: Record<string, TensorSpec>;
}

/** Random floats as an input. */
export const float = (...shape: number[]): CaseOperand => ({ shape });
/** Random floats in the file. */
export const weight = (...shape: number[]): CaseOperand => ({ shape, weight: true });
/** Integers as an input. */
export const ints = (dtype: 'int32' | 'int64', shape: number[], data: number[]): CaseOperand => ({
  shape,
  dtype,
  data,
});
/** Small integers all over their range, in the file. */
export const bytes = (
  dtype: 'uint8' | 'int8' | 'uint4' | 'int4',
  shape: number[],
  seed: number,
): CaseOperand => {
  const count = shape.reduce((size, dim) => size * dim, 1);
  const range = dtype.endsWith('4') ? 16 : 256;
  const low = dtype.startsWith('u') ? 0 : range / 2;
  return {
    shape,
    dtype,
    data: Array.from({ length: count }, (_, i) => ((i * 89 + seed * 53) % range) - low),
    weight: true,
  };
};

/** Runs both and compares every output. Relative L2 at most 1e-5 for floats, equality for integers. */
async function compare(item: OperatorCase): Promise<void> {
  const engine = await pageEngine();
  const present = item.operands.flatMap((operand, index) =>
    operand ? [{ name: `x${index}`, ...operand }] : [],
  );
  const contents = new Map(
    present.map(({ name, shape, dtype = 'float32', data }, k) => [
      name,
      rawBytes(dtype, data ?? random(sizeOf(shape), k + 1)),
    ]),
  );
  const typed = (name: string, dtype: NumericType): TypedArray =>
    encode(dtype, toDoubles(dtype, contents.get(name)!, contents.get(name)!.length / bytesOf(dtype, 1)));
  const outputs = (item.outputs ?? ['float32']).map((dtype, index) => ({
    name: dtype ? `y${index}` : '',
    dtype,
  }));
  const node: NodeSpec = {
    op: item.op,
    domain: item.domain ?? 'com.microsoft',
    inputs: item.operands.map((operand, index) => (operand ? `x${index}` : '')),
    outputs: outputs.map(({ name }) => name),
    attributes: item.attributes ?? {},
  };
  const write = (nodes: NodeSpec[]): Uint8Array<ArrayBuffer> =>
    model({
      irVersion: 10,
      opsets: { '': item.opset ?? 21, 'com.microsoft': 1 },
      nodes,
      inputs: present
        .filter(({ weight }) => !weight)
        .map(({ name, dtype = 'float32', shape }) => ({ name, dtype, shape })),
      outputs: outputs.flatMap(({ name, dtype }) => (dtype ? [{ name, dtype }] : [])),
      initializers: {
        ...item.initializers,
        ...Object.fromEntries(
          present
            .filter(({ weight }) => weight)
            .map(({ name, dtype = 'float32', shape }) => [
              name,
              { dtype, dims: [...shape], raw: contents.get(name)! },
            ]),
        ),
      },
    });

  const fed = present.filter(({ weight }) => !weight);
  const session = await createSession(write(item.nodes ?? [node]), { engine, precision: 'f32' });
  const reference = await ort.InferenceSession.create(write(item.reference ?? item.nodes ?? [node]), {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  try {
    const actual = await session.run(
      Object.fromEntries(
        fed.map(({ name, dtype = 'float32', shape }) => [name, new Tensor(dtype, shape, typed(name, dtype))]),
      ),
    );
    const expected = await reference.run(
      Object.fromEntries(
        fed.map(({ name, dtype = 'float32', shape }) => [
          name,
          new ort.Tensor(dtype as ort.Tensor.Type, typed(name, dtype) as Float32Array, [...shape]),
        ]),
      ),
    );
    const inflated = session.report().quantized.filter((weight) => weight.inflated !== undefined);
    if (!item.inflated) expect(inflated).toEqual([]);
    for (const { name, dtype } of outputs) {
      if (!dtype) continue;
      const [ours, theirs] = [actual[name]!, expected[name]!];
      expect(ours.dtype, name).toBe(dtype);
      expect([...ours.shape], name).toEqual([...theirs.dims]);
      const numbers = [await ours.data(), theirs.data as ArrayLike<number | bigint>].map((data) =>
        Float64Array.from(data as ArrayLike<number>, Number),
      );
      expect(relativeL2(numbers[0]!, numbers[1]!), name).toBeLessThanOrEqual(dtype === 'float32' ? 1e-5 : 0);
    }
  } finally {
    session.dispose();
    await reference.release();
  }
}

/** Declares a test for every case, on the page's engine. */
export function compareAll(name: string, cases: readonly OperatorCase[]): void {
  describe(name, () => {
    for (const item of cases) test(`${item.op}: ${item.name}`, () => compare(item));
  });
}
