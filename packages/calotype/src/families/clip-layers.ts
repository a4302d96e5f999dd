import type { Model, ModelNode } from '@calotype/core';

const PREFIX = 'clip_skip.';

/** Name of the output that leaves out the last `skip` layers; without a number, what all those names begin with. */
export function skippedOutput(skip?: number): string {
  return skip === undefined ? PREFIX : PREFIX + skip;
}

/**
 * Adds outputs `clip_skip.1`, `clip_skip.2`, … to a CLIP text encoder: what `last_hidden_state` would be without its last
 * layers, the final norm included. Exports seldom give hidden states, and those that they give are not normed. A graph
 * whose layers are not recognised stays as it is.
 */
export function withSkippedLayers(model: Model): Model {
  const { graph } = model;
  const output = graph.outputs.find(({ name }) => name === 'last_hidden_state');
  const producers = new Map<string, ModelNode>();
  const normed = new Set<string>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) producers.set(name, node);
    if (node.op === 'LayerNormalization') normed.add(node.inputs[0]!);
  }
  // From the output back through the casts of a model in half precision to the final norm.
  const tail: ModelNode[] = [];
  for (let name = output?.name; name !== undefined; name = tail.at(-1)!.inputs[0]) {
    const node = producers.get(name);
    if (!node || !['Cast', 'Identity', 'LayerNormalization'].includes(node.op)) return model;
    tail.push(node);
    if (node.op === 'LayerNormalization') break;
  }
  if (!output || tail.length === 0) return model;
  const uncast = (value: string | undefined): string => {
    const node = producers.get(value ?? '');
    return node?.op === 'Cast' ? uncast(node.inputs[0]) : (value ?? '');
  };
  /** The stream before the block that added to it last: the operand of the sum that a norm reads too. */
  const before = (value: string | undefined): string | undefined => {
    const node = producers.get(uncast(value));
    return node?.op === 'Add'
      ? node.inputs.find((name) => normed.has(name) || normed.has(uncast(name)))
      : undefined;
  };
  const nodes = [...graph.nodes];
  const outputs = [...graph.outputs];
  let stream: string | undefined = tail.at(-1)!.inputs[0];
  for (let skip = 1; ; skip++) {
    // Attention and the perceptron each add to the stream once.
    stream = before(before(stream));
    // The embeddings are no layer's output.
    if (stream === undefined || before(before(stream)) === undefined) break;
    const name = skippedOutput(skip);
    let value: string = stream;
    tail.toReversed().forEach((node, i) => {
      const result = i === tail.length - 1 ? name : `${name}/${i}`;
      nodes.push({ ...node, name: result, inputs: [value, ...node.inputs.slice(1)], outputs: [result] });
      value = result;
    });
    outputs.push({ ...output, name });
  }
  return { ...model, graph: { ...graph, nodes, outputs } };
}
