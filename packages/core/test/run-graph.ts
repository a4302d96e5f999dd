import { Engine, type EngineOptions } from '../src/gpu/engine.ts';
import { Program, type IslandHost } from '../src/gpu/program.ts';
import { ResidentWeights } from '../src/gpu/resident-weights.ts';
import { OWN_DOMAIN, type Epilogue, type Graph, type Node, type Value } from '../src/graph/graph.ts';
import type { Expr } from '../src/graph/expr.ts';
import type { KernelTuning } from '../src/kernels/tuning.ts';
import type { Attribute } from '../src/onnx/model.ts';
import { loadRareOperators, lookup } from '../src/ops/registry.ts';
import type { CpuTensor, TensorType } from '../src/ops/op.ts';
import type { Capabilities } from '../src/plan/capabilities.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { Plan } from '../src/plan/plan.ts';
import type { WeightFormat } from '../src/plan/weight-format.ts';
import { bytesOf, type DataType } from '../src/tensor/dtype.ts';
import type { Shape } from '../src/tensor/shape.ts';
import { encode, Tensor, type NumericType } from '../src/tensor/tensor.ts';

await loadRareOperators();

type AttributeValue = number | string | readonly number[];

/** A tensor as tests write it. */
export interface TestTensor {
  shape: Shape;
  data: ArrayLike<number>;
  /** float32 by default. */
  dtype?: NumericType;
}

interface NodeOptions {
  domain?: string;
  opset?: number;
  outputs?: number;
  epilogue?: Epilogue;
  expr?: Expr;
  /** For operators that have no definition. */
  types?: TensorType[];
}

/** Builds a graph node by node, for tests of operators and kernels. Shapes and dtypes follow from the definitions. */
export class TestGraph {
  readonly graph: Graph = { inputs: [], outputs: [], nodes: [] };
  readonly feeds: Map<Value, TestTensor> = new Map();

  /** A graph input with its contents. */
  input(name: string, tensor: TestTensor): Value {
    const value: Value = {
      name,
      dtype: tensor.dtype ?? 'float32',
      shape: tensor.shape,
      origin: { kind: 'input' },
    };
    this.graph.inputs.push(value);
    this.feeds.set(value, tensor);
    return value;
  }

  /** A constant known on the CPU. */
  constant(data: readonly number[], shape: Shape, dtype: DataType = 'float32'): Value {
    const name = `constant${this.graph.nodes.length}_${Math.random()}`;
    return { name, dtype, shape, origin: { kind: 'constant', data: Float64Array.from(data) } };
  }

  /** An initializer, uploaded as raw bytes of its dtype. */
  weight(name: string, tensor: TestTensor): Value {
    const dtype = tensor.dtype ?? 'float32';
    const bytes = rawBytes(dtype, tensor.data);
    const dims = [...tensor.shape];
    return {
      name,
      dtype,
      shape: dims,
      origin: { kind: 'weight', ref: { name, dtype, dims, data: { kind: 'inline', bytes } } },
    };
  }

  node(
    op: string,
    inputs: (Value | undefined)[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    options: NodeOptions = {},
  ): Value[] {
    const domain = options.domain ?? '';
    const node: Node = {
      op,
      domain,
      name: `${op}_${this.graph.nodes.length}`,
      opset: options.opset ?? (domain === OWN_DOMAIN ? 1 : 21),
      inputs,
      outputs: [],
      attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, toAttribute(value)])),
    };
    if (options.epilogue) node.epilogue = options.epilogue;
    if (options.expr) node.expr = options.expr;
    const definition = lookup(domain, op);
    const types = options.types ?? definition?.infer(node);
    if (!types) throw new Error(`no definition of '${domain}:${op}'`);
    const count = options.outputs ?? 1;
    node.outputs = types.slice(0, count).map((type, index) => ({
      name: `${node.name}:${index}`,
      ...type,
      origin: { kind: 'node', node, index },
    }));
    this.graph.nodes.push(node);
    return node.outputs;
  }
}

export interface RunOptions extends EngineOptions {
  /** Shared by several runs, so that they compile each kernel once. */
  engine?: Engine;
  tuning?: KernelTuning;
  /** Lower limits to plan for than the device has: variants for large tensors on small ones. */
  limits?: Partial<Capabilities['limits']>;
  /** Another adapter to plan for: the kernels of GPUs on a processor, and the other way round. */
  adapter?: string;
  /** What to make of float weights. */
  weights?: WeightFormat;
  /** Nodes whose weights may become integers; all but the first and last layers otherwise. */
  quantizable?: ReadonlySet<Node>;
  /** Runs what has no kernel. */
  islands?: IslandHost;
}

/** Runs a test graph on the GPU and returns the outputs as doubles, row-major. */
export async function runGraph(
  test: TestGraph,
  outputs: Value[],
  options: RunOptions = {},
): Promise<{ outputs: CpuTensor[]; plan: Plan }> {
  test.graph.outputs = outputs;
  const engine = options.engine ?? (await Engine.create({ precision: 'f32', ...options }));
  try {
    const plan = planGraph(test.graph, {
      capabilities: {
        ...engine.capabilities,
        ...(options.adapter !== undefined && { adapter: options.adapter }),
        limits: { ...engine.capabilities.limits, ...options.limits },
      },
      precision: options.precision ?? engine.precision,
      tuning: options.tuning,
      weights: options.weights,
      ...(options.quantizable && { quantizable: options.quantizable }),
      islands: options.islands !== undefined,
    });
    const weights = new ResidentWeights(engine);
    const program = await Program.prepare(engine, plan, weights, { islands: options.islands });
    const external = new Map<number, GPUBuffer>();
    for (const [value, tensor] of test.feeds) {
      const view = plan.inputs.get(value.name);
      if (!view) continue;
      const buffer = engine.buffers.acquire(plan.buffers[view.buffer]!.bytes, value.name);
      const raw = encode(value.dtype as NumericType, tensor.data);
      const padded = new Uint8Array(buffer.size);
      padded.set(new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength));
      engine.device.queue.writeBuffer(buffer, 0, padded);
      external.set(view.buffer, buffer);
    }
    const tensors = outputs.map((value) => {
      const view = plan.outputs.get(value.name)!;
      const buffer = engine.buffers.acquire(plan.buffers[view.buffer]!.bytes, value.name);
      // Unwritten elements must not pass for zeros.
      engine.device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0x7fc07fc0));
      external.set(view.buffer, buffer);
      return new Tensor(value.dtype as NumericType, value.shape, { engine, buffer, storage: view.storage });
    });
    await program.run(external);
    const results: CpuTensor[] = [];
    for (const tensor of tensors) {
      const data = await tensor.data();
      const numbers = Float64Array.from(data as ArrayLike<number | bigint> as ArrayLike<number>, Number);
      if (tensor.dtype === 'float16') throw new Error('ask for a float32 output in tests');
      results.push({ dtype: tensor.dtype, shape: tensor.shape, data: numbers });
      tensor.dispose();
    }
    program.dispose();
    for (const buffer of external.values()) engine.buffers.release(buffer);
    return { outputs: results, plan };
  } finally {
    if (!options.engine) engine.dispose();
  }
}

/** ‖actual − expected‖ / ‖expected‖. NaN anywhere gives NaN, which no tolerance accepts. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return NaN;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / (norm || 1));
}

/** Seeded uniform numbers in [-1, 1). */
export function random(count: number, seed: number): Float64Array {
  let state = (seed * 2654435761 + 1) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.fround((state >>> 0) / 2147483648 - 1);
  });
}

/** Contents of a tensor as a file has them; integers of 4 bits two to a byte, the first in the low half. */
export function rawBytes(dtype: NumericType, data: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  if (dtype === 'int4' || dtype === 'uint4') {
    const bytes = new Uint8Array(bytesOf(dtype, data.length));
    for (let i = 0; i < data.length; i++) bytes[i >> 1]! |= (data[i]! & 15) << (4 * (i & 1));
    return bytes;
  }
  const { buffer, byteOffset, byteLength } = encode(dtype, data);
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

function toAttribute(value: AttributeValue): Attribute {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'number')
    return Number.isInteger(value) ? { type: 'int', value } : { type: 'float', value };
  return value.every(Number.isInteger)
    ? { type: 'ints', value: [...value] }
    : { type: 'floats', value: [...value] };
}
