import type { TensorRef } from '../onnx/model.ts';
import type { UnsupportedOpError } from '../errors.ts';
import type { Emitter } from './emit.ts';
import type { Node, Value } from './graph.ts';
import { isSmall, knowWeight } from './values.ts';

/** A shape depends on the values of graph inputs: specialize again with them. Internal to the engine. */
export class NeedsInputValue extends Error {
  override name = 'NeedsInputValue';
  /** Names of the inputs. */
  readonly inputs: readonly string[];

  constructor(inputs: readonly string[]) {
    super(`Internal error: the values of ${inputs.join(', ')} were not provided`);
    this.inputs = inputs;
  }
}

/**
 * Makes a value a constant by reading the weights that it depends on and computing the nodes in between.
 *
 * @param refuse makes the error for a value that cannot be known, from the end of a sentence
 * @throws NeedsInputValue where it depends on graph inputs
 */
export async function force(
  value: Value,
  emitter: Emitter,
  {
    read,
    refuse,
  }: { read: (ref: TensorRef) => Promise<Uint8Array>; refuse: (reason: string) => UnsupportedOpError },
): Promise<void> {
  const inputs: string[] = [];
  const weights: [Value, TensorRef][] = [];
  const nodes = new Set<Node>();
  const seen = new Set([value]);
  // The set grows while it is walked.
  for (const { name, origin, shape } of seen) {
    if (origin.kind === 'constant') continue;
    if (!isSmall(shape)) throw refuse(`depends on '${name}', which is too large to be known on the CPU`);
    if (origin.kind === 'input') inputs.push(name);
    if (origin.kind === 'weight') weights.push([[...seen].find((v) => v.origin === origin)!, origin.ref]);
    if (origin.kind !== 'node' || nodes.has(origin.node)) continue;
    nodes.add(origin.node);
    for (const operand of origin.node.inputs) if (operand) seen.add(operand);
  }
  if (inputs.length > 0) throw new NeedsInputValue(inputs);
  for (const [weight, ref] of weights) knowWeight(weight, ref, await read(ref));
  for (const node of emitter.inOrder(nodes)) {
    if (!emitter.fold(node))
      throw refuse(`depends on '${node.name}' (${node.op}), which is not computed on the CPU`);
  }
}
