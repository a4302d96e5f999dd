import { operandsOf, type Graph, type Node, type Value } from '../graph/graph.ts';
import { toNumbers } from '../onnx/elements.ts';
import { codeOf } from '../onnx/element-types.ts';
import type { Attribute, Model, ModelNode, TensorRef } from '../onnx/model.ts';
import { readTensor } from '../onnx/reader.ts';
import { writeModel } from '../onnx/write.ts';
import { computedStorage, fileStorage } from './storage.ts';
import { bitsOf, bytesOf, isFloat, type DataType } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import { encode } from '../tensor/tensor.ts';

/** Newest operator set that onnxruntime 1.30 knows; later versions of operators only add element types. */
const newestOpset = 24;

/** A group of nodes as an ONNX file for onnxruntime. */
export interface IslandModel {
  model: Uint8Array<ArrayBuffer>;
  /** What the file expects as external data, by location. */
  weights: Map<string, TensorRef>;
  /** Names of the file's inputs and outputs, in the order asked for. */
  inputs: string[];
  outputs: string[];
}

/**
 * Writes nodes as a model whose inputs and outputs are what buffers hold: float32, int32 or uint32. Inside, all floats
 * are float32 (adapters without `shader-f16` could not run anything else); other types are cast at the border.
 *
 * @param nodes in topological order, all of one version of each operator set
 */
export function islandModel(
  nodes: readonly Node[],
  inputs: readonly Value[],
  outputs: readonly Value[],
): IslandModel {
  const writer = new IslandWriter();
  for (const value of inputs) writer.addInput(value);
  for (const node of nodes) writer.addNode(node);
  for (const value of outputs) writer.addOutput(value);
  const { bytes, external } = writeModel(writer.model);
  const names = (list: { name: string }[]): string[] => list.map(({ name }) => name);
  return {
    model: bytes,
    weights: external,
    inputs: names(writer.model.graph.inputs),
    outputs: names(writer.model.graph.outputs),
  };
}

/** Element type of the buffer that holds a value: what kernels write. */
export function borderType(dtype: DataType): 'float32' | 'int32' | 'uint32' {
  if (dtype === 'string') throw new Error('Internal error: strings do not cross an island');
  const storage = computedStorage(fileStorage[dtype]);
  return storage === 'i32' ? 'int32' : storage === 'u32' ? 'uint32' : 'float32';
}

/** Values of a graph that nodes read from outside, constants and weights not counted, and those that others read. */
export function bordersOf(nodes: readonly Node[], graph: Graph): { inputs: Value[]; outputs: Value[] } {
  const inside = new Set(nodes);
  const inputs = new Set<Value>();
  for (const node of nodes) {
    for (const value of node.inputs) {
      if (!value || value.origin.kind === 'constant' || value.origin.kind === 'weight') continue;
      if (value.origin.kind !== 'node' || !inside.has(value.origin.node)) inputs.add(value);
    }
  }
  const wanted = new Set(graph.outputs);
  for (const node of graph.nodes) {
    if (!inside.has(node)) for (const value of operandsOf(node)) wanted.add(value);
  }
  const outputs = nodes.flatMap((node) => node.outputs).filter((value) => wanted.has(value));
  return { inputs: [...inputs], outputs };
}

class IslandWriter {
  readonly model: Model = {
    irVersion: 10,
    producer: 'calotype',
    opsets: new Map([['', 17]]),
    graph: { name: 'island', nodes: [], inputs: [], outputs: [], initializers: new Map(), values: new Map() },
    functions: [],
    files: [],
  };
  readonly #names = new Map<Value, string>();

  addInput(value: Value): void {
    const name = this.#nameOf(value);
    const border = borderType(value.dtype);
    const inner = innerType(value.dtype);
    const outer = border === inner ? name : `${name}_given`;
    this.model.graph.inputs.push({ name: outer, dtype: border, shape: [...value.shape] });
    if (border !== inner) this.#cast(outer, name, inner);
  }

  addNode(node: Node): void {
    const { opsets, graph } = this.model;
    opsets.set(node.domain, node.domain === '' ? Math.min(node.opset, newestOpset) : node.opset);
    graph.nodes.push({
      name: node.name,
      op: node.op,
      domain: node.domain,
      overload: '',
      inputs: node.inputs.map((value) => (value ? this.#operand(value) : '')),
      outputs: node.outputs.map((value) => this.#nameOf(value)),
      attributes: new Map([...node.attributes].map(([key, value]) => [key, singleFloat(key, value)])),
    });
  }

  addOutput(value: Value): void {
    const name = this.#nameOf(value);
    const border = borderType(value.dtype);
    const inner = innerType(value.dtype);
    const outer = border === inner ? name : `${name}_taken`;
    if (border !== inner) this.#cast(name, outer, border);
    this.model.graph.outputs.push({ name: outer, dtype: border, shape: [...value.shape] });
  }

  #operand(value: Value): string {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    const name = this.#nameOf(value);
    const { origin, shape, dtype } = value;
    if (origin.kind === 'weight') this.model.graph.initializers.set(name, asSingle(origin.ref));
    if (origin.kind === 'constant') {
      this.model.graph.initializers.set(name, inlineTensor(name, shape, innerType(dtype), origin.data));
    }
    return name;
  }

  #cast(from: string, to: string, dtype: DataType): void {
    const attributes = new Map<string, Attribute>([['to', { type: 'int', value: codeOf(dtype) }]]);
    const node: ModelNode = {
      name: `${to}_cast`,
      op: 'Cast',
      domain: '',
      overload: '',
      inputs: [from],
      outputs: [to],
      attributes,
    };
    this.model.graph.nodes.push(node);
  }

  #nameOf(value: Value): string {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    const name = `v${this.#names.size}`;
    this.#names.set(value, name);
    return name;
  }
}

function innerType(dtype: DataType): DataType {
  return isFloat(dtype) ? 'float32' : dtype;
}

/** Attributes that name an element type: floats become float32 there too. */
const typeAttributes = new Set(['to', 'dtype', 'output_dtype']);
const otherFloats = new Set(['float16', 'bfloat16', 'float64'].map((dtype) => codeOf(dtype as DataType)));

function singleFloat(name: string, attribute: Attribute): Attribute {
  if (attribute.type === 'tensor') return { type: 'tensor', value: asSingle(attribute.value) };
  const isOther = attribute.type === 'int' && typeAttributes.has(name) && otherFloats.has(attribute.value);
  return isOther ? { type: 'int', value: codeOf('float32') } : attribute;
}

/** A constant from numbers. */
export function inlineTensor(
  name: string,
  shape: readonly number[],
  dtype: DataType,
  data: Float64Array,
): TensorRef {
  if (dtype === 'string') throw new Error('Internal error: a constant of strings');
  const typed = encode(dtype, data);
  const bytes = new Uint8Array(typed.buffer as ArrayBuffer, typed.byteOffset, typed.byteLength);
  return { name, dtype, dims: [...shape], data: { kind: 'inline', bytes } };
}

/** A constant with its floats as float32, converted when it is read. */
function asSingle(ref: TensorRef): TensorRef {
  const { dtype, data, name, dims } = ref;
  if (!isFloat(dtype) || dtype === 'float32') return ref;
  if (data.kind === 'inline')
    return inlineTensor(name, dims, 'float32', toNumbers(dtype, data.bytes, sizeOf(dims)));
  const length = bytesOf('float32', sizeOf(dims));
  const read = async (
    offset: number,
    bytes: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> => {
    const whole = await readTensor(ref, signal);
    const width = bitsOf[dtype] / 8;
    const part = whole.subarray((offset / 4) * width, ((offset + bytes) / 4) * width);
    return new Uint8Array(Float32Array.from(toNumbers(dtype, part, bytes / 4)).buffer);
  };
  const source = { name: `${name} as float32`, size: async () => length, read };
  return { name, dtype: 'float32', dims, data: { kind: 'range', source, offset: 0, length } };
}
