import { describe, expect, test } from 'vitest';
import { InvalidModelError } from '../errors.ts';
import { int64, type ModelSpec } from '../../test/onnx-writer.ts';
import { node, specialized, templateOf } from '../../test/specialized.ts';
import { printGraph } from './print.ts';

const x = { name: 'x', dtype: 'float32', shape: [2, 3] } as const;
const y = { name: 'y', dtype: 'float32' } as const;
const simple = (nodes: ModelSpec['nodes'], more: ModelSpec = {}): ModelSpec => ({
  inputs: [x],
  outputs: [y],
  nodes: nodes ?? [],
  ...more,
});

describe('names and order', () => {
  test('nodes in any order are sorted', async () => {
    const { nodes } = await templateOf(
      simple([node('Neg', 'b', 'y'), node('Abs', 'a', 'b'), node('Exp', 'x', 'a')]),
    );
    expect(nodes.map(({ op }) => op)).toEqual(['Exp', 'Abs', 'Neg']);
  });

  const broken: Record<string, [ModelSpec, RegExp]> = {
    'a cycle': [
      simple([node('Add', 'x b', 'a'), node('Neg', 'a', 'b'), node('Neg', 'b', 'y')]),
      /cycle: 'a' → 'b' → 'a'/,
    ],
    'a node that reads itself': [simple([node('Add', 'x y', 'y')]), /cycle: 'y' → 'y'/],
    'an undefined name': [
      simple([node('Add', 'x nowhere', 'y')]),
      /'nowhere'.*node 'y' \(Add\).*defined nowhere/,
    ],
    'an undefined output': [simple([node('Neg', 'x', 'z')]), /output 'y' is defined nowhere/],
    'a name defined twice': [
      simple([node('Neg', 'x', 'y'), node('Abs', 'x', 'y')]),
      /'y' is (defined|produced) twice/,
    ],
    'a node that defines a weight again': [
      simple([node('Neg', 'x', 'y')], { initializers: { y: int64([1], [1]) } }),
      /'y' is (defined|produced) twice/,
    ],
    'a node that defines an input': [
      simple([node('Neg', 'x', 'x'), node('Neg', 'x', 'y')]),
      /'x' is (defined|produced) twice/,
    ],
    'an output without a type': [
      simple([node('Neg', 'x', 'y')], { outputs: [{ name: 'y' }] }),
      /type of output 'y'/,
    ],
  };
  test.each(Object.entries(broken))('%s', async (_, [spec, message]) => {
    const failure = templateOf(spec);
    await expect(failure).rejects.toThrow(InvalidModelError);
    await expect(failure).rejects.toThrow(message);
  });

  test('a chain of 50,000 nodes in reverse order does not overflow the stack', async () => {
    const chain = Array.from({ length: 50_000 }, (_, i) =>
      node('Neg', `v${i}`, i === 49_999 ? 'y' : `v${i + 1}`),
    );
    const { nodes } = await templateOf(simple(chain.reverse(), { inputs: [{ ...x, name: 'v0' }] }));
    expect(nodes[0]!.inputs).toEqual(['v0']);
  });
});

describe('operators', () => {
  test('all without definition are listed', async () => {
    const { unsupported } = await templateOf(
      simple([
        node('Frobnicate', 'x', 'a'),
        node('Neg', 'a', 'b'),
        node('Warp', 'b', 'y', {}, 'org.example'),
      ]),
    );
    expect(unsupported.map(({ op, domain }) => `${domain}:${op}`)).toEqual([
      ':Frobnicate',
      'org.example:Warp',
    ]);
  });

  test.each([6, 99])('operator set %i is refused by number', async (version) => {
    const { unsupported } = await templateOf(simple([node('Neg', 'x', 'y')], { opsets: { '': version } }));
    expect(unsupported[0]).toMatchObject({
      op: 'Neg',
      reason: expect.stringContaining(`operator set ${version}`),
    });
  });

  test('a node without outputs', async () => {
    await expect(templateOf(simple([node('Neg', 'x', '')]))).rejects.toThrow(
      "node 'Neg' (Neg) has no outputs",
    );
  });

  test('no operator set at all', async () => {
    await expect(templateOf(simple([node('Neg', 'x', 'y')], { opsets: {} }))).rejects.toThrow(
      'no operator set of ONNX',
    );
  });
});

describe('functions', () => {
  const half: ModelSpec['functions'] = [
    {
      name: 'Scale',
      domain: 'f',
      inputs: ['a'],
      outputs: ['b'],
      attributes: ['by'],
      attributeDefaults: { bias: { float: 0.25 } },
      nodes: [
        node('Constant', '', 'factor', { value_float: { ref: 'by' } }),
        node('Constant', '', 'offset', { value_float: { ref: 'bias' } }),
        node('Mul', 'a factor', 'inner'),
        node('Add', 'inner offset', 'b'),
      ],
    },
    {
      name: 'Twice',
      domain: 'f',
      inputs: ['a'],
      outputs: ['b'],
      opsets: {
        '': 17,
        f: 1,
      },
      nodes: [
        node('Scale', 'a', 'inner', { by: { float: 0.5 } }, 'f'),
        node(
          'Scale',
          'inner',
          'b',
          {
            by: { float: 4 },
            bias: { float: 1 },
          },
          'f',
        ),
      ],
    },
  ];

  test('are inlined with their attributes, and names do not meet', async () => {
    const nodes = [node('Twice', 'x', 'inner', {}, 'f'), node('Neg', 'inner', 'y')];
    const graph = await specialized(simple(nodes, { functions: half, opsets: { '': 17, f: 1 } }));
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,3]
      %0: float32[2,3] = Mul(x, 0.5)
      %1: float32[2,3] = Add(%0, 0.25)
      %2: float32[2,3] = Mul(%1, 4)
      %3: float32[2,3] = Add(%2, 1)
      %4: float32[2,3] = Neg(%3)
      output y = %4"
    `);
  });

  test('that call themselves are refused', async () => {
    const functions = [
      { name: 'F', domain: 'f', inputs: ['a'], outputs: ['b'], nodes: [node('F', 'a', 'b', {}, 'f')] },
    ];
    await expect(templateOf(simple([node('F', 'x', 'y', {}, 'f')], { functions }))).rejects.toThrow(
      "'F' calls itself",
    );
  });

  test('that give their argument back', async () => {
    const functions = [{ name: 'F', domain: 'f', inputs: ['a'], outputs: ['a', 'a'], nodes: [] }];
    const graph = await specialized(
      simple([node('F', 'x', 'p q', {}, 'f'), node('Add', 'p q', 'y')], {
        functions,
        opsets: { '': 17, f: 1 },
      }),
    );
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Identity', 'Identity', 'Add']);
  });

  test('that grow without bound are refused', async () => {
    // Each of 24 functions calls the next one twice: 2^24 nodes.
    const functions = Array.from({ length: 24 }, (_, i) => ({
      name: `F${i}`,
      domain: 'f',
      inputs: ['a'],
      outputs: ['c'],
      nodes:
        i === 23
          ? [node('Neg', 'a', 'c')]
          : [node(`F${i + 1}`, 'a', 'b', {}, 'f'), node(`F${i + 1}`, 'b', 'c', {}, 'f')],
    }));
    await expect(templateOf(simple([node('F0', 'x', 'y', {}, 'f')], { functions }))).rejects.toThrow(
      'more than',
    );
  });
});
