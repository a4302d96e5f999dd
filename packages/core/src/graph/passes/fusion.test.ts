import { describe, expect, test } from 'vitest';
import { float32, int64, type ModelSpec, type NodeSpec, type TensorSpec } from '../../../test/onnx-writer.ts';
import { node, optimised, randomWeight, runPasses, specialized } from '../../../test/specialized.ts';
import type { Graph } from '../graph.ts';
import { printGraph } from '../print.ts';
import { passes } from './index.ts';

// Every `optimised` also checks that the graph computes the same as before.

const output = { name: 'y', dtype: 'float32' } as const;
const input = (name: string, ...shape: number[]) => ({ name, dtype: 'float32', shape }) as const;

function model(
  inputs: ModelSpec['inputs'],
  nodes: readonly NodeSpec[],
  initializers: Readonly<Record<string, TensorSpec>> = {},
  opset = 17,
): ModelSpec {
  return { inputs: inputs ?? [], outputs: [output], nodes, initializers, opsets: { '': opset } };
}

const ops = (graph: Graph): string[] => graph.nodes.map(({ op, epilogue }) => (epilogue ? `${op}+` : op));

describe('elementwise chains', () => {
  test('become one node, diamonds included', async () => {
    const graph = await optimised(
      model(
        [input('x', 4, 6), input('z', 4, 1)],
        [
          node('Exp', 'x', 'a'),
          node('Mul', 'a z', 'b'),
          node('Sigmoid', 'b', 'c'),
          node('Mul', 'b c', 'd'),
          node('Add', 'd w', 'y'),
        ],
        { w: randomWeight([6]) },
      ),
    );
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[4,6]
      input z: float32[4,1]
      %0: float32[4,6] = Elementwise(w:w, z, x) add(silu(mul(exp(x2), x1)), x0)
      output y = %0"
    `);
  });

  test('with more operands than a shader may have are cut', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `x${i}`);
    const sums = names
      .slice(1)
      .map((name, i) => node('Add', `${i === 0 ? 'x0' : `s${i}`} ${name}`, i === 10 ? 'y' : `s${i + 1}`));
    const graph = await optimised(model(names.map((name) => input(name, 5)), sums)); // prettier-ignore
    expect(ops(graph)).toEqual(['Elementwise', 'Elementwise', 'Elementwise']);
    expect(Math.max(...graph.nodes.map(({ inputs }) => inputs.length))).toBeLessThanOrEqual(6);
  });

  test('with results that others need too stay apart', async () => {
    const spec = model([input('x', 4)], [node('Exp', 'x', 'a'), node('Neg', 'a', 'y')]);
    const graph = await optimised({ ...spec, outputs: [output, { name: 'a', dtype: 'float32' }] });
    expect(ops(graph)).toEqual(['Elementwise', 'Elementwise']);
  });

  test('on weights alone stay at load time', async () => {
    const graph = await optimised(
      model([input('x', 4, 6)], [node('Exp', 'w', 'a'), node('Mul', 'x a', 'y')], { w: randomWeight([6]) }),
    );
    expect(ops(graph)).toEqual(['Elementwise', 'Elementwise']);
  });

  test('do not keep what only gave its type', async () => {
    const like = model(
      [input('x', 2, 8), input('z', 3)],
      [node('CastLike', 'x z', 'a'), node('Exp', 'a', 'y')],
      {},
      19,
    );
    const graph = await optimised(like);
    expect(graph.nodes.map(({ inputs }) => inputs.map((value) => value!.name))).toEqual([['x']]);
  });

  test('keep what only gives the shape', async () => {
    const graph = await optimised(
      model([input('x', 2, 3)], [node('Mul', 'one tall', 'a'), node('Add', 'a x', 'y')], {
        one: float32([1, 1, 1], [1]),
        tall: float32([], [2]),
      }),
    );
    expect(graph.outputs[0]!.shape).toEqual([1, 2, 3]);
  });

  test('through integers keep their types', async () => {
    const graph = await optimised(
      model(
        [input('x', 8)],
        [
          node('Mul', 'x ten', 'a'),
          node('Cast', 'a', 'i', { to: { int: 6 } }),
          node('Div', 'i three', 'j'),
          node('Cast', 'j', 'f', { to: { int: 1 } }),
          node('Neg', 'f', 'y'),
        ],
        { ten: float32([], [10]), three: { dtype: 'int32', dims: [], int32s: [3] } },
      ),
    );
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[8]
      %0: float32[8] = Elementwise(x) neg(toF32(idiv(toI32(mul(x0, 10)), 3)))
      output y = %0"
    `);
  });
});

describe('epilogues', () => {
  test('bias, activation and residual go into the product', async () => {
    const graph = await optimised(
      model(
        [input('x', 2, 3, 8), input('r', 2, 3, 4)],
        [
          node('MatMul', 'x w', 'a'),
          node('Add', 'b a', 'c'),
          node('Gelu', 'c', 'd'),
          node('Add', 'd r', 'y'),
        ],
        { w: randomWeight([8, 4]), b: randomWeight([4], 3) },
        20,
      ),
    );
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,3,8]
      input r: float32[2,3,4]
      %0: float32[2,3,4] = MatMul(x, w:w) → add(gelu(add(x2, x0)), x1) with r, w:b
      output y = %0"
    `);
  });

  test('of two producers the last one takes it', async () => {
    const conv = { kernel_shape: { ints: [1, 1] } };
    const graph = await optimised(
      model(
        [input('x', 1, 4, 3, 3)],
        [
          node('Conv', 'x w', 'a', conv),
          node('Exp', 'x', 'e'),
          node('Conv', 'e w', 'b', conv),
          node('Add', 'b a', 'y'),
        ],
        { w: randomWeight([4, 4, 1, 1]) },
      ),
    );
    expect(ops(graph)).toEqual(['Conv', 'Elementwise', 'Conv+']);
  });

  test('a result that has two users stays', async () => {
    const graph = await optimised(
      model(
        [input('x', 2, 8)],
        [
          node('MatMul', 'x w', 'a'),
          node('Neg', 'a', 'b'),
          node('Softmax', 'a', 'c'),
          node('Add', 'b c', 'y'),
        ],
        { w: randomWeight([8, 4]) },
      ),
    );
    expect(ops(graph)).toEqual(['MatMul', 'Softmax+']);
  });

  test('residuals behind views move to the product', async () => {
    const graph = await optimised(
      model(
        [input('x', 2, 15, 8), input('r', 2, 4, 3, 5), input('g', 2, 4, 1, 1)],
        [
          node('MatMul', 'x w', 'a'),
          node('Add', 'a b', 'c'),
          node('Reshape', 'c image', 'd'),
          node('Transpose', 'd', 'e', { perm: { ints: [0, 3, 1, 2] } }),
          node('Mul', 'e g', 'f'),
          node('Add', 'f r', 'y'),
        ],
        { w: randomWeight([8, 4]), b: randomWeight([4], 3), image: int64([4], [2, 3, 5, 4]) },
      ),
    );
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,15,8]
      input r: float32[2,4,3,5]
      input g: float32[2,4,1,1]
      %0: float32[2,3,5,4] = Transpose(r) {perm=[0,2,3,1]}
      %1: float32[2,15,4] = Reshape(%0, [2,15,4])
      %2: float32[2,1,4] = Reshape(g, [2,1,4])
      %3: float32[2,15,4] = MatMul(x, w:w) → add(mul(add(x0, x3), x2), x1) with %1, %2, w:b
      %4: float32[2,3,5,4] = Reshape(%3, [2,3,5,4])
      %5: float32[2,4,3,5] = Transpose(%4) {perm=[0,3,1,2]}
      output y = %5"
    `);
  });
});

describe('products of one x', () => {
  test('with weights side by side', async () => {
    const projections = ['q', 'k', 'v'].flatMap((name) => [
      node('MatMul', `x w${name}`, `m${name}`),
      node('Add', `m${name} b${name}`, `p${name}`),
      node('Reshape', `p${name} split`, name),
    ]);
    const graph = await optimised(
      model([input('x', 2, 5, 8)], [...projections, node('Mul', 'q k', 'qk'), node('MatMul', 'qk v', 'y')], {
        wq: randomWeight([8, 4], 1),
        wk: randomWeight([8, 4], 2),
        wv: randomWeight([8, 4], 3),
        bq: randomWeight([4], 4),
        bk: randomWeight([4], 5),
        bv: randomWeight([4], 6),
        split: int64([4], [2, 5, 2, 2]),
      }),
    );
    expect(ops(graph).filter((op) => op !== 'Reshape')).toEqual([
      'Concat',
      'Concat',
      'MatMul+',
      'Split',
      'Elementwise',
      'MatMul',
    ]);
  });

  // What they compute is compared with onnxruntime in dequantized-weights.gpu.test.ts.
  test('with integers side by side, and one zero point that is all of theirs', async () => {
    const bytes = (dims: number[], value: number): TensorSpec => {
      const size = dims.reduce((product, dim) => product * dim, 1);
      return { dtype: 'uint8', dims, raw: new Uint8Array(size).fill(value) };
    };
    const members = (zeros: readonly (number | undefined)[]): ModelSpec => {
      const names = ['q', 'k', 'v'];
      const products = names.flatMap((name) => [
        node(
          'DequantizeLinear',
          `i${name} s${name} ${zeros[0] === undefined ? '_' : `z${name}`}`,
          `w${name}`,
          {
            axis: { int: 1 },
          },
        ),
        node('MatMul', `x w${name}`, name),
      ]);
      const all = node('Concat', names.join(' '), 'y', { axis: { int: -1 } });
      const weights = names.flatMap((name, i) => [
        [`i${name}`, bytes([8, 4], i)],
        [`s${name}`, randomWeight([4], i)],
        [`z${name}`, bytes([4], zeros[i] ?? 0)],
      ]);
      return model(
        [input('x', 5, 8)],
        [...products, all],
        Object.fromEntries(weights) as Record<string, TensorSpec>,
      );
    };
    const merged = async (zeros: readonly (number | undefined)[]): Promise<Graph> =>
      runPasses(await specialized(members(zeros)), ...passes);
    const graph = await merged([128, 128, 128]);
    expect(ops(graph)).toEqual(['Concat', 'Concat', 'DequantizeLinear', 'MatMul', 'Split', 'Concat']);
    const [, , zero] = graph.nodes.find(({ op }) => op === 'DequantizeLinear')!.inputs;
    expect(zero!.origin).toEqual({ kind: 'constant', data: new Float64Array(12).fill(128) });
    const absent = await merged([undefined, undefined, undefined]);
    expect(ops(absent)).toEqual(ops(graph));
    // Zero points that differ would be read for each column.
    expect(ops(await merged([128, 128, 127])).filter((op) => op === 'DequantizeLinear')).toHaveLength(2);
  });

  test('GEGLU: halves of one product', async () => {
    const graph = await optimised(
      model(
        [input('x', 2, 5, 8)],
        [
          node('MatMul', 'x w', 'a'),
          node('Add', 'a b', 'c'),
          node('Split', 'c sizes', 'l r', { axis: { int: -1 } }),
          node('Div', 'r root', 'd'),
          node('Erf', 'd', 'e'),
          node('Add', 'e one', 'f'),
          node('Mul', 'r f', 'g'),
          node('Mul', 'g half', 'h'),
          node('Mul', 'l h', 'y'),
        ],
        {
          w: randomWeight([8, 12]),
          b: randomWeight([12], 3),
          sizes: int64([2], [6, 6]),
          root: float32([], [Math.SQRT2]),
          one: float32([], [1]),
          half: float32([], [0.5]),
        },
      ),
    );
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,5,8]
      %0: float32[2,5,6] = GatedMatMul(x, w:w, w:b) {activation=gelu gate=1}
      output y = %0"
    `);
  });

  test.each([
    ['left', 'l', 'r', 0],
    ['right', 'r', 'l', 1],
  ])('SwiGLU of slices, the %s half activated', async (_, active, plain, gate) => {
    const slice = (name: string): NodeSpec => node('Slice', `a start_${name} end_${name} axis`, name);
    const graph = await optimised(
      model(
        [input('x', 5, 8)],
        [
          node('Gemm', 'x w b', 'a', { transB: { int: 1 } }),
          slice('l'),
          slice('r'),
          node('Sigmoid', active, 's'),
          node('Mul', `${active} s`, 't'),
          node('Mul', `t ${plain}`, 'y'),
        ],
        {
          w: randomWeight([12, 8]),
          b: randomWeight([12], 3),
          axis: int64([1], [-1]),
          start_l: int64([1], [0]),
          end_l: int64([1], [6]),
          start_r: int64([1], [-6]),
          end_r: int64([1], [99]),
        },
      ),
    );
    const gated = graph.nodes.find(({ op }) => op === 'GatedMatMul')!;
    expect(gated.attributes.get('gate')).toMatchObject({ value: gate });
    expect(gated.attributes.get('activation')).toMatchObject({ value: 'silu' });
  });

  test('SwiGLU of two products', async () => {
    const graph = await optimised(
      model(
        [input('x', 2, 5, 8)],
        [
          node('MatMul', 'x v', 'b'),
          node('MatMul', 'x w', 'a'),
          node('Sigmoid', 'a', 's'),
          node('Mul', 'a s', 't'),
          node('Mul', 't b', 'y'),
        ],
        { w: randomWeight([8, 6], 1), v: randomWeight([8, 6], 2) },
      ),
    );
    expect(ops(graph)).toEqual(['Concat', 'GatedMatMul']);
  });
});

describe('upsampling', () => {
  const resize = (mode: string, rounding: string): ModelSpec =>
    model(
      [input('x', 1, 2, 3, 4)],
      [
        node('Resize', 'x _ scales', 'a', {
          mode: { string: 'nearest' },
          coordinate_transformation_mode: { string: mode },
          nearest_mode: { string: rounding },
        }),
        node('Conv', 'a w', 'y', { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } }),
      ],
      { scales: float32([4], [1, 1, 2, 2]), w: randomWeight([2, 2, 3, 3]) },
    );

  test('by nearest neighbour is done by the convolution after it', async () => {
    const graph = await optimised(resize('asymmetric', 'floor'));
    expect(ops(graph)).toEqual(['Conv']);
    expect(graph.nodes[0]!.attributes.get('upsample')).toEqual({ type: 'int', value: 2 });
  });

  test('that rounds up is not', async () => {
    const graph = await specialized(resize('asymmetric', 'ceil'));
    expect(ops(runPasses(graph, ...passes))).toEqual(['Resize', 'Conv']);
  });
});
