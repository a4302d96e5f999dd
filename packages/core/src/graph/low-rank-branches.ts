import { WeightUpdateError } from '../errors.ts';
import type { Attribute, TensorRef } from '../onnx/model.ts';
import type { GraphTemplate, TemplateNode } from './template.ts';
import type { WeightUses } from './weight-uses.ts';

/** What is computed beside a product or convolution: `up · (scales · (down · x))`. */
export interface Branch {
  weight: WeightUses;
  /** [rank, inFeatures, …kernel] */
  down: TensorRef;
  /** [rank] */
  scales: TensorRef;
  /** [outFeatures, rank] */
  up: TensorRef;
}

/** Version of the operators that branches are written in. */
const opset = 21;

/**
 * The model with low-rank branches beside quantized weights, whose bytes stay as they are.
 *
 * @throws WeightUpdateError where the graph around a weight has no floats to branch off from
 */
export function withBranches(template: GraphTemplate, branches: readonly Branch[]): GraphTemplate {
  const weights = new Map(template.weights);
  const added = new Map<TemplateNode, TemplateNode[]>();
  const renamed = new Map<TemplateNode, TemplateNode>();
  const around = new Surroundings(template);
  for (const branch of branches) {
    for (const ref of [branch.down, branch.scales, branch.up]) weights.set(ref.name, ref);
    branch.weight.nodes.forEach((node, use) => {
      const { x, last } = around.floatsOf(node, branch.weight);
      const y = last.outputs[0]!;
      renamed.set(last, { ...last, outputs: [`${y}/base`, ...last.outputs.slice(1)] });
      added.set(last, branchNodes(branch, node, { x, y, prefix: `${branch.weight.name}/update${use}` }));
    });
  }
  const nodes = template.nodes.flatMap((node) => [renamed.get(node) ?? node, ...(added.get(node) ?? [])]);
  return { ...template, weights, nodes };
}

function branchNodes(
  { weight, down, scales, up }: Branch,
  product: TemplateNode,
  { x, y, prefix }: { x: string; y: string; prefix: string },
): TemplateNode[] {
  const nodes: TemplateNode[] = [];
  const add = (
    op: string,
    inputs: string[],
    output: string,
    attributes: ReadonlyMap<string, Attribute> = new Map(),
  ): string => {
    const name = `${prefix}/${op}${nodes.length}`;
    const rest = { domain: '', opset, attributes: new Map(attributes), blocks: new Map() };
    nodes.push({ op, name, inputs, outputs: [output], ...rest });
    return output;
  };
  /** A factor in the type of x. */
  const factor = (ref: TensorRef): string => add('CastLike', [ref.name, x], `${prefix}/${ref.name}`);
  const isConvolution = weight.kernel.length > 0;
  let sum: string;
  if (isConvolution) {
    const inner = add('Conv', [x, factor(down)], `${prefix}/inner`, product.attributes);
    const scaled = add('Mul', [inner, factor(scales)], `${prefix}/scaled`);
    sum = add('Conv', [scaled, factor(up)], `${prefix}/outer`);
  } else {
    const turned = (ref: TensorRef): string =>
      add('Transpose', [factor(ref)], `${prefix}/${ref.name}/turned`);
    const inner = add('MatMul', [x, turned(down)], `${prefix}/inner`);
    const scaled = add('Mul', [inner, factor(scales)], `${prefix}/scaled`);
    sum = add('MatMul', [scaled, turned(up)], `${prefix}/outer`);
  }
  add('Add', [`${y}/base`, sum], y);
  return nodes;
}

/** Finds the floats that go into a product of integers and come out of it. */
class Surroundings {
  readonly #producers = new Map<string, TemplateNode>();
  readonly #users = new Map<string, TemplateNode[]>();

  constructor({ nodes }: GraphTemplate) {
    for (const node of nodes) {
      for (const name of node.outputs) this.#producers.set(name, node);
      for (const name of node.inputs) this.#users.set(name, [...(this.#users.get(name) ?? []), node]);
    }
  }

  /** @returns the float operand, and the node that gives the float result */
  floatsOf(node: TemplateNode, weight: WeightUses): { x: string; last: TemplateNode } {
    if (weight.groups > 1) {
      throw new WeightUpdateError([weight.name], `it is quantized and convolves in ${weight.groups} groups`);
    }
    if (node.op !== 'MatMulInteger' && node.op !== 'ConvInteger') return { x: node.inputs[0]!, last: node };
    // Written by onnxruntime's dynamic quantization: DynamicQuantizeLinear, the product, Cast, Mul by the scales.
    const quantize = this.#producers.get(node.inputs[0]!);
    const cast = this.#only(node, 'Cast');
    const last = cast && this.#only(cast, 'Mul');
    if (quantize?.op !== 'DynamicQuantizeLinear' || !last) {
      throw new WeightUpdateError([weight.name], `its ${node.op} is not one of dynamic quantization`);
    }
    return { x: quantize.inputs[0]!, last };
  }

  #only(node: TemplateNode, op: string): TemplateNode | undefined {
    const users = this.#users.get(node.outputs[0]!);
    return users?.length === 1 && users[0]!.op === op ? users[0] : undefined;
  }
}
