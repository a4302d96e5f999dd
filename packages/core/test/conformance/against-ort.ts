import * as ort from 'onnxruntime-web/wasm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Engine } from '../../src/gpu/engine.ts';
import { createSession } from '../../src/session.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { encode, Tensor, type NumericType } from '../../src/tensor/tensor.ts';
import { model, type AttributeSpec, type NodeSpec, type TensorSpec } from '../onnx-writer.ts';
import { random, relativeL2 } from '../run-graph.ts';

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
export const bytes = (dtype: 'uint8' | 'int8', shape: number[], seed: number): CaseOperand => {
  const count = shape.reduce((size, dim) => size * dim, 1);
  const low = dtype === 'int8' ? 128 : 0;
  return {
    shape,
    dtype,
    data: Array.from({ length: count }, (_, i) => ((i * 89 + seed * 53) % 256) - low),
    weight: true,
  };
};

const opsets = { '': 21, 'com.microsoft': 1 };

/** Runs both and compares every output. Relative L2 at most 1e-5 for floats, equality for integers. */
async function compare(engine: Engine, item: OperatorCase): Promise<void> {
  const present = item.operands.flatMap((operand, index) =>
    operand ? [{ name: `x${index}`, ...operand }] : [],
  );
  const contents = new Map(
    present.map(({ name, shape, dtype = 'float32', data }, k) => [
      name,
      encode(dtype, data ?? random(sizeOf(shape), k + 1)),
    ]),
  );
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
  const raw = (name: string): Uint8Array => {
    const { buffer, byteOffset, byteLength } = contents.get(name)!;
    return new Uint8Array(buffer, byteOffset, byteLength).slice();
  };
  const write = (nodes: NodeSpec[]): Uint8Array<ArrayBuffer> =>
    model({
      opsets,
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
            .map(({ name, dtype = 'float32', shape }) => [name, { dtype, dims: [...shape], raw: raw(name) }]),
        ),
      },
    });

  const fed = present.filter(({ weight }) => !weight);
  const session = await createSession(write([node]), { engine, precision: 'f32' });
  const reference = await ort.InferenceSession.create(write(item.reference ?? [node]), {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  try {
    const actual = await session.run(
      Object.fromEntries(
        fed.map(({ name, dtype = 'float32', shape }) => [
          name,
          new Tensor(dtype, shape, contents.get(name)!),
        ]),
      ),
    );
    const expected = await reference.run(
      Object.fromEntries(
        fed.map(({ name, dtype = 'float32', shape }) => [
          name,
          new ort.Tensor(dtype as ort.Tensor.Type, contents.get(name) as Float32Array, [...shape]),
        ]),
      ),
    );
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

/** Declares a test for every case, on one engine. */
export function compareAll(name: string, cases: readonly OperatorCase[]): void {
  describe(name, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await Engine.create({ precision: 'f32' });
    });
    afterAll(() => engine.dispose());
    for (const item of cases) test(`${item.op}: ${item.name}`, () => compare(engine, item));
  });
}
