import { OWN_DOMAIN, type Graph, type Node, type Value } from '../../../packages/core/src/graph/graph.ts';
import type { Attribute } from '../../../packages/core/src/onnx/model.ts';
import { lookup } from '../../../packages/core/src/ops/registry.ts';
import { toFloat16Array } from '../../../packages/core/src/tensor/float16.ts';
import { sizeOf, type Shape } from '../../../packages/core/src/tensor/shape.ts';
import { weightsOf, type KernelCase } from '../cases.ts';

/** Bytes that no GPU's caches hold. */
const CACHES = 160e6;

type FloatType = 'float32' | 'float16';

export interface BenchGraph {
  graph: Graph;
  /** Contents of the inputs, by name. */
  contents: Map<string, Float32Array | Uint16Array>;
}

/** A graph of `calls` equal operators beside each other; tensors lie as they do in a network (channels-last, heads split). */
export function graphOf(item: KernelCase, dtype: FloatType, calls: number): BenchGraph {
  const weights = weightsOf(item);
  const builder = new Builder(dtype, weights === 'int4' ? 4 : weights === 'int8' ? 8 : 16);
  const call = build(item, builder);
  for (let i = 0; i < calls; i++) builder.graph.outputs.push(call(i));
  return builder;
}

function build(item: KernelCase, g: Builder): (call: number) => Value {
  switch (item.kind) {
    case 'gemm': {
      const width = item.columns * (item.gated ? 2 : 1);
      const x = g.input('x', [item.rows, item.depth]);
      const bias = g.weight('b', [width], 1);
      return (call) => {
        const w = g.weight('w', [item.depth, width], 1 / Math.sqrt(item.depth), call);
        return item.gated
          ? g.node('GatedMatMul', [x, w, bias], { activation: 'gelu' }, OWN_DOMAIN)
          : g.node('Gemm', [x, w, bias], {});
      };
    }
    case 'conv': {
      const { height, width, channels, outputs, kernel = 3, stride = 1, upsample = 1, batch = 1 } = item;
      const image = g.input('x', [batch, height, width, channels]);
      const x = g.node('Transpose', [image], { perm: [0, 3, 1, 2] });
      const b = g.weight('b', [outputs], 1);
      const pad = (kernel - 1) / 2;
      const attributes = { pads: [pad, pad, pad, pad], strides: [stride, stride], upsample };
      return (call) => {
        const shape = [outputs, channels, kernel, kernel];
        const w = g.weight('w', shape, 1 / (kernel * Math.sqrt(channels)), call);
        return g.node('Transpose', [g.node('Conv', [x, w, b], attributes)], { perm: [0, 2, 3, 1] });
      };
    }
    case 'group-norm': {
      const { height, width, channels, groups = 32, batch = 1 } = item;
      const image = g.input('x', [batch, height, width, channels]);
      const x = g.node('Transpose', [image], { perm: [0, 3, 1, 2] });
      const affine = [g.weight('scale', [channels], 1), g.weight('bias', [channels], 1)];
      return () =>
        g.node('Transpose', [g.node('GroupNorm', [x, ...affine], { groups }, OWN_DOMAIN)], {
          perm: [0, 2, 3, 1],
        });
    }
    case 'attention': {
      const { batch = 1, heads, queries, keys, size, causal = false } = item;
      const tall = (name: string, length: number): Value => {
        const flat = g.input(name, [batch, length, heads, size]);
        return g.node('Transpose', [flat], { perm: [0, 2, 1, 3] });
      };
      const operands = [tall('q', queries), tall('k', keys), tall('v', keys)];
      const attributes = { causal: causal ? 1 : 0 };
      return () =>
        g.node('Transpose', [g.node('Attention', operands, attributes, OWN_DOMAIN)], { perm: [0, 2, 1, 3] });
    }
  }
}

class Builder implements BenchGraph {
  readonly graph: Graph = { inputs: [], outputs: [], nodes: [] };
  readonly contents = new Map<string, Float32Array | Uint16Array>();
  readonly #dtype: FloatType;
  /** Bits of a weight on the GPU. */
  readonly #bits: number;
  readonly #weights = new Map<string, Float32Array | Uint16Array>();

  constructor(dtype: FloatType, bits: number) {
    this.#dtype = dtype;
    this.#bits = bits;
  }

  input(name: string, shape: Shape): Value {
    const value: Value = { name, dtype: this.#dtype, shape, origin: { kind: 'input' } };
    this.graph.inputs.push(value);
    this.contents.set(name, this.#random(name, shape, 1));
    return value;
  }

  /**
   * @param call weights of so many calls are told apart that no cache holds them all, as in a network
   */
  weight(name: string, shape: Shape, scale: number, call = 0): Value {
    const copy = call % Math.ceil((8 * CACHES) / (this.#bits * sizeOf(shape)));
    const data = this.#weights.get(name) ?? this.#random(name, shape, scale);
    this.#weights.set(name, data);
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, 0, data.byteLength);
    // Named by its contents' size: weights are shared by name.
    const ref = {
      name: `${name}${shape.join('x')}_${copy}`,
      dtype: this.#dtype,
      dims: [...shape],
      data: { kind: 'inline' as const, bytes },
    };
    return { name: ref.name, dtype: this.#dtype, shape, origin: { kind: 'weight', ref } };
  }

  node(
    op: string,
    inputs: Value[],
    attributes: Record<string, number | string | number[]>,
    domain = '',
  ): Value {
    const node: Node = {
      op,
      domain,
      inputs,
      outputs: [],
      name: `${op}_${this.graph.nodes.length}`,
      opset: domain === '' ? 21 : 1,
      attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, attribute(value)])),
    };
    const [type] = lookup(domain, op)!.infer(node);
    const output: Value = { name: `${node.name}:0`, ...type!, origin: { kind: 'node', node, index: 0 } };
    node.outputs = [output];
    this.graph.nodes.push(node);
    return output;
  }

  /** Uniform noise. It repeats after a prime number of elements, so that no tile meets the same numbers in step. */
  #random(name: string, shape: Shape, scale: number): Float32Array | Uint16Array {
    const period = 1_000_003;
    const elements = sizeOf(shape);
    const noise = new Float32Array(Math.min(period, elements));
    let state = name.charCodeAt(0) * 2654435761;
    for (let i = 0; i < noise.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      noise[i] = (state / 2147483648 - 1) * scale;
    }
    const block = this.#dtype === 'float32' ? noise : toFloat16Array(noise);
    const all = this.#dtype === 'float32' ? new Float32Array(elements) : new Uint16Array(elements);
    for (let at = 0; at < elements; at += block.length) {
      all.set(block.subarray(0, Math.min(block.length, elements - at)), at);
    }
    return all;
  }
}

function attribute(value: number | string | number[]): Attribute {
  if (typeof value === 'number') return { type: 'int', value };
  return typeof value === 'string' ? { type: 'string', value } : { type: 'ints', value };
}
