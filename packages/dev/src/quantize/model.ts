import {
  blockSizes,
  leastDepth,
  leastElements,
  leastTableElements,
  quantizableNodes,
  type Attribute,
  type Model,
  type ModelGraph,
  type ModelNode,
  type TensorRef,
} from '@calotype/core/tools';
import { raiseOpset } from './opset.ts';
import {
  quantizeAlongSecondAxis,
  quantizeMatrix,
  type Bits,
  type QuantizedTensor,
  type Weight,
} from './tensors.ts';

/** Where the contents of constants go, in the order of their making. */
export interface ConstantWriter {
  write(
    name: string,
    type: Pick<TensorRef, 'dtype' | 'dims'>,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<TensorRef>;
}

export interface QuantizedModel {
  model: Model;
  /** Weights that are integers now. */
  weights: number;
}

/** ONNX's codes of the dtypes that weights may have, as `Cast` names them. */
const castCodes: Readonly<Record<number, Weight['dtype']>> = { 1: 'float32', 10: 'float16' };

const int = (value: number): Attribute => ({ type: 'int', value });

/**
 * The model with the weights of its layers in integers: products as MatMulNBits, convolutions and tables behind
 * DequantizeLinear. Layers that would suffer stay as they are (docs/quantization.md).
 *
 * @throws Error for a model in an operator set that cannot be raised to 21
 */
export async function quantizeModel(
  model: Model,
  format: 'int8' | 'int4',
  writer: ConstantWriter,
): Promise<QuantizedModel> {
  const quantizer = new ModelQuantizer(model, format, writer);
  await quantizer.run();
  return { model: quantizer.model, weights: quantizer.weights };
}

class ModelQuantizer {
  readonly model: Model;
  readonly #bits: Bits;
  readonly #block: number;
  readonly #writer: ConstantWriter;
  /** Names of integers and scales, or of dequantized weights, by weight and form. */
  readonly #made = new Map<string, string>();
  /** Weights that layers read in another dtype than the file has them in, by the names they have then. */
  readonly #casts: ReadonlyMap<string, Weight>;
  /** Dequantizing nodes; they come before all others. */
  readonly #dequantizers: ModelNode[] = [];

  constructor(model: Model, format: 'int8' | 'int4', writer: ConstantWriter) {
    this.model = {
      ...model,
      opsets: new Map(model.opsets),
      graph: { ...model.graph, initializers: new Map(model.graph.initializers) },
    };
    this.#casts = new Map(model.graph.nodes.flatMap((node) => castOf(node, model.graph.initializers) ?? []));
    this.#bits = format === 'int8' ? 8 : 4;
    this.#block = blockSizes[format];
    this.#writer = writer;
  }

  get weights(): number {
    return this.#made.size;
  }

  async run(): Promise<void> {
    const { graph } = this.model;
    const chosen = quantizableNodes(graph);
    const nodes: ModelNode[] = [];
    for (const node of graph.nodes) {
      const rewritten = chosen.has(node) && node.domain === '' ? await this.#rewrite(node) : undefined;
      nodes.push(...(rewritten ?? [{ ...node, attributes: new Map(node.attributes) }]));
    }
    graph.nodes = [...this.#dequantizers, ...nodes];
    // The newer rules are those of blocks; products alone leave the model's own in force.
    if (this.#dequantizers.length > 0) raiseOpset(this.model);
    if (this.#made.size > this.#dequantizers.length) this.model.opsets.set('com.microsoft', 1);
    this.#dropUnused();
  }

  async #rewrite(node: ModelNode): Promise<ModelNode[] | undefined> {
    switch (node.op) {
      case 'MatMul':
        return this.#product(node, false);
      case 'Gemm': {
        const { attributes } = node;
        const number = (name: string, missing: number): number => {
          const attribute = attributes.get(name);
          return attribute?.type === 'int' || attribute?.type === 'float' ? attribute.value : missing;
        };
        const isPlain = number('transA', 0) === 0 && number('alpha', 1) === 1 && number('beta', 1) === 1;
        return isPlain ? this.#product(node, number('transB', 0) !== 0) : undefined;
      }
      case 'Conv': {
        const group = node.attributes.get('group');
        return group?.type === 'int' && group.value !== 1 ? undefined : this.#behindDequantizer(node, 1);
      }
      case 'Gather':
        return this.#behindDequantizer(node, 0);
      default:
        return undefined;
    }
  }

  #weight(name: string | undefined, least: number): Weight | undefined {
    if (name === undefined) return undefined;
    const weight = this.#casts.get(name) ?? asWeight(this.model.graph.initializers.get(name));
    return weight && weight.ref.dims.reduce((product, dim) => product * dim, 1) >= least ? weight : undefined;
  }

  /** x · w (+ bias) as MatMulNBits (and Add). */
  async #product(node: ModelNode, transposed: boolean): Promise<ModelNode[] | undefined> {
    const [x, name, bias] = node.inputs;
    const weight = this.#weight(name, leastElements);
    if (weight?.ref.dims.length !== 2) return undefined;
    const { ref, dtype } = weight;
    const [columns, depth] = transposed ? [ref.dims[0]!, ref.dims[1]!] : [ref.dims[1]!, ref.dims[0]!];
    if (depth < leastDepth) return undefined;
    const blocks = Math.ceil(depth / this.#block);
    const key = `${name!}/${transposed ? 'rows' : 'columns'}`;
    const prefix =
      this.#made.get(key) ??
      (await this.#store(key, await quantizeMatrix(weight, this.#bits, this.#block, transposed), {
        integers: { dtype: 'uint8', dims: [columns, blocks, (this.#block * this.#bits) / 8] },
        scales: { dtype, dims: [columns * blocks] },
      }));
    const product = bias ? `${node.outputs[0]!}/product` : node.outputs[0]!;
    const quantized: ModelNode = {
      name: node.name,
      op: 'MatMulNBits',
      domain: 'com.microsoft',
      overload: '',
      inputs: [x!, `${prefix}_q`, `${prefix}_scales`],
      outputs: [product],
      attributes: new Map([
        ['K', int(depth)],
        ['N', int(columns)],
        ['bits', int(this.#bits)],
        ['block_size', int(this.#block)],
      ]),
    };
    if (!bias) return [quantized];
    const add: ModelNode = {
      name: `${node.name}/bias`,
      op: 'Add',
      domain: '',
      overload: '',
      inputs: [product, bias],
      outputs: [node.outputs[0]!],
      attributes: new Map(),
    };
    return [quantized, add];
  }

  /** The node reading what DequantizeLinear gives. */
  async #behindDequantizer(node: ModelNode, operand: 0 | 1): Promise<ModelNode[] | undefined> {
    const name = node.inputs[operand]!;
    const weight = this.#weight(name, operand === 0 ? leastTableElements : leastElements);
    if (!weight) return undefined;
    const { ref, dtype } = weight;
    if (ref.dims.length < 2 || (operand === 0 && ref.dims.length !== 2)) return undefined;
    const depth = ref.dims.slice(1).reduce((product, dim) => product * dim, 1);
    // Blocks have to divide the channels: others would not lie on whole words in every kernel.
    const block = [this.#block, 32, 16, 8].find((size) => size <= this.#block && ref.dims[1]! % size === 0);
    if (depth < leastDepth || block === undefined) return undefined;
    const output = `${name}_dequantized`;
    if (!this.#made.has(name)) {
      const prefix = await this.#store(name, await quantizeAlongSecondAxis(weight, this.#bits, block), {
        integers: { dtype: this.#bits === 4 ? 'int4' : 'int8', dims: ref.dims },
        scales: { dtype, dims: ref.dims.with(1, ref.dims[1]! / block) },
      });
      this.#dequantizers.push({
        name: output,
        op: 'DequantizeLinear',
        domain: '',
        overload: '',
        inputs: [`${prefix}_q`, `${prefix}_scales`],
        outputs: [output],
        attributes: new Map([
          ['axis', int(1)],
          ['block_size', int(block)],
        ]),
      });
    }
    return [{ ...node, inputs: node.inputs.with(operand, output), attributes: new Map(node.attributes) }];
  }

  async #store(
    key: string,
    { integers, scales }: QuantizedTensor,
    types: Record<'integers' | 'scales', Pick<TensorRef, 'dtype' | 'dims'>>,
  ): Promise<string> {
    const { initializers } = this.model.graph;
    for (const [name, type, bytes] of [
      [`${key}_q`, types.integers, integers],
      [`${key}_scales`, types.scales, scales],
    ] as const) {
      initializers.set(name, await this.#writer.write(name, type, bytes));
    }
    this.#made.set(key, key);
    return key;
  }

  /** Float weights that nobody reads any more, and what made another dtype of them. */
  #dropUnused(): void {
    const { graph } = this.model;
    const isRead = readNames(graph);
    graph.nodes = graph.nodes.filter(
      ({ outputs }) => !this.#casts.has(outputs[0]!) || isRead.has(outputs[0]!),
    );
    const read = readNames(graph);
    const dropped = [...graph.initializers.keys()].filter((name) => !read.has(name));
    for (const name of dropped) graph.initializers.delete(name);
    // Old files list weights among the inputs too.
    graph.inputs = graph.inputs.filter(({ name }) => !dropped.includes(name));
  }
}

function asWeight(ref: TensorRef | undefined): Weight | undefined {
  return ref?.dtype === 'float32' || ref?.dtype === 'float16' ? { ref, dtype: ref.dtype } : undefined;
}

/** The name that a weight gets by a Cast, and the weight. */
function castOf(
  { op, domain, inputs, outputs, attributes }: ModelNode,
  initializers: ReadonlyMap<string, TensorRef>,
): [[string, Weight]] | undefined {
  const weight = op === 'Cast' && domain === '' ? asWeight(initializers.get(inputs[0]!)) : undefined;
  const to = attributes.get('to');
  const dtype = to?.type === 'int' ? castCodes[to.value] : undefined;
  return weight && dtype && [[outputs[0]!, { ref: weight.ref, dtype }]];
}

/** Names that nodes or the caller read, inside conditions and loops too. */
function readNames(graph: ModelGraph): Set<string> {
  const read = new Set(graph.outputs.map(({ name }) => name));
  for (const { inputs, attributes } of graph.nodes) {
    for (const name of inputs) read.add(name);
    for (const attribute of attributes.values()) {
      if (attribute.type === 'graph') for (const name of readNames(attribute.value)) read.add(name);
    }
  }
  return read;
}
