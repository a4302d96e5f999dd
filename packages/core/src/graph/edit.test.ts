import { describe, expect, test } from 'vitest';
import { node, specialized } from '../../test/specialized.ts';
import { GraphEditor } from './edit.ts';
import type { Graph } from './graph.ts';
import { printGraph } from './print.ts';
import { verify } from './verify.ts';

/** `y = -(|x|)`, `z = exp(|x|)`. */
function example(): Promise<Graph> {
  return specialized({
    inputs: [{ name: 'x', dtype: 'float32', shape: [2, 3] }],
    outputs: ['y', 'z'].map((name) => ({ name, dtype: 'float32' })),
    nodes: [node('Abs', 'x', 'a'), node('Neg', 'a', 'y'), node('Exp', 'a', 'z')],
  });
}

describe('GraphEditor', () => {
  test('knows users, and that outputs are wanted', async () => {
    const editor = new GraphEditor(await example());
    const [a] = editor.nodes()[0]!.outputs;
    expect(editor.users(a!).map(({ op }) => op)).toEqual(['Neg', 'Exp']);
    expect(editor.soleUser(a!)).toBeUndefined();
    expect(editor.isUsed(editor.graph.outputs[0]!)).toBe(true);
  });

  test('replacing an output hands its name over and drops what it came from', async () => {
    const editor = new GraphEditor(await example());
    const [y] = editor.graph.outputs;
    const [a] = editor.nodes()[0]!.outputs;
    expect(editor.replace(y!, a!)).toBe(true);
    const graph = editor.commit();
    verify(graph, 'replace');
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "input x: float32[2,3]
      %0: float32[2,3] = Abs(x)
      %1: float32[2,3] = Exp(%0)
      output y = %0
      output z = %1"
    `);
    expect(graph.outputs[0]!.name).toBe('y');
  });

  test('an output cannot become an input or another output', async () => {
    const editor = new GraphEditor(await example());
    const [y, z] = editor.graph.outputs;
    expect(editor.replace(y!, editor.graph.inputs[0]!)).toBe(false);
    expect(editor.replace(y!, z!)).toBe(false);
  });

  test('redefining a value removes what is no longer needed', async () => {
    const editor = new GraphEditor(await example());
    const [, z] = editor.graph.outputs;
    const [x] = editor.graph.inputs;
    editor.redefine(z!, { op: 'Sqrt', inputs: [x!] });
    editor.redefine(editor.graph.outputs[0]!, { op: 'Log', inputs: [x!] });
    verify(editor.commit(), 'redefine');
    expect(editor.nodes().map(({ op }) => op)).toEqual(['Sqrt', 'Log']);
  });

  test('sorts what was added behind what it needs', async () => {
    const editor = new GraphEditor(await example());
    const [a] = editor.nodes()[0]!.outputs;
    const doubled = editor.make({ op: 'Add', inputs: [a!, a!] });
    editor.setInputs(editor.nodes()[1]!, [doubled]);
    verify(editor.commit(), 'setInputs');
    expect(editor.nodes().map(({ op }) => op)).toEqual(['Abs', 'Add', 'Neg', 'Exp']);
  });

  test('refuses a cycle', async () => {
    const editor = new GraphEditor(await example());
    const [abs] = editor.nodes();
    editor.setInputs(abs!, [editor.graph.outputs[0]!]);
    expect(() => editor.commit()).toThrow('a cycle through');
  });
});

describe('verify', () => {
  const damages: Record<string, [(graph: Graph) => void, RegExp]> = {
    order: [(graph) => graph.nodes.reverse(), /reads 'a' before it is defined/],
    'a type': [
      (graph) => (graph.nodes[0]!.outputs[0]!.shape = [6]),
      /gives float32\[2,3\] for 'a', said to be float32\[6\]/,
    ],
    'a name': [(graph) => (graph.nodes[0]!.outputs[0]!.name = 'y'), /two values are named 'y'/],
    'an output': [(graph) => (graph.outputs[0] = graph.inputs[0]!), /output 'x' is no node's result/],
    'an output twice': [(graph) => (graph.outputs[0] = graph.outputs[1]!), /a value is two outputs/],
    'who defines a value': [
      (graph) => (graph.nodes[0]!.outputs[0]!.origin = { kind: 'node', node: graph.nodes[1]!, index: 0 }),
      /'a' does not know/,
    ],
    'an epilogue that does not fit': [
      (graph) => {
        const operand = { ...graph.inputs[0]!, shape: [4] };
        graph.inputs.push(operand);
        graph.nodes[0]!.epilogue = { expr: { kind: 'input', index: 1, type: 'f32' }, inputs: [operand] };
      },
      /does not broadcast to the result of Abs/,
    ],
  };
  test.each(Object.entries(damages))(
    'notices damage to %s and names the pass',
    async (_, [damage, message]) => {
      const graph = await example();
      damage(graph);
      expect(() => verify(graph, 'some-pass')).toThrow(message);
      expect(() => verify(graph, 'some-pass')).toThrow('after some-pass');
    },
  );
});
