import { bytesOf } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import { codeOf } from './element-types.ts';
import type {
  Attribute,
  Model,
  ModelFunction,
  ModelGraph,
  ModelNode,
  ModelValue,
  TensorRef,
} from './model.ts';
import { float, int, join, message, string, strings, varint, type Bytes } from './wire-writer.ts';

// Field numbers are onnx.proto's.

/** An ONNX file, and the constants that it expects as external data. */
export interface WrittenModel {
  bytes: Bytes;
  /** By location, which is no path but a name made up here; the whole of each location is one tensor. */
  external: Map<string, TensorRef>;
}

/**
 * Writes a model as an ONNX file. Constants that are not at hand (`range`, `missing`) become external data, so that
 * nothing is read here.
 *
 * @param options.keepPlaces refers to `missing` constants at the location and offset that they name
 * @throws Error for attributes of a kind that was not read in the first place
 */
export function writeModel(model: Model, options: { keepPlaces?: boolean } = {}): WrittenModel {
  const writer = new ModelWriter(options.keepPlaces ?? false);
  const bytes = join([
    int(1, model.irVersion),
    string(2, model.producer),
    message(7, writer.graph(model.graph)),
    ...opsets(8, model.opsets),
    ...model.functions.map((called) => message(25, writer.function(called))),
  ]);
  return { bytes, external: writer.external };
}

class ModelWriter {
  readonly external = new Map<string, TensorRef>();
  readonly #keepPlaces: boolean;

  constructor(keepPlaces: boolean) {
    this.#keepPlaces = keepPlaces;
  }

  graph(graph: ModelGraph): Bytes[] {
    return [
      ...graph.nodes.map((node) => message(1, this.#node(node))),
      string(2, graph.name || 'graph'),
      ...[...graph.initializers].map(([name, ref]) => message(5, this.#tensor(name, ref))),
      ...graph.inputs.map((value) => message(11, valueInfo(value))),
      ...graph.outputs.map((value) => message(12, valueInfo(value))),
      ...[...graph.values.values()].map((value) => message(13, valueInfo(value))),
    ];
  }

  function(called: ModelFunction): Bytes[] {
    return [
      string(1, called.name),
      ...strings(4, called.inputs),
      ...strings(5, called.outputs),
      ...strings(6, called.attributes),
      ...called.nodes.map((node) => message(7, this.#node(node))),
      ...opsets(9, called.opsets),
      string(10, called.domain),
      ...[...called.attributeDefaults].map(([name, value]) => message(11, this.#attribute(name, value))),
      ...(called.overload === '' ? [] : [string(13, called.overload)]),
    ];
  }

  #node(node: ModelNode): Bytes[] {
    return [
      ...strings(1, node.inputs),
      ...strings(2, node.outputs),
      string(3, node.name),
      string(4, node.op),
      ...[...node.attributes].map(([name, value]) => message(5, this.#attribute(name, value))),
      string(7, node.domain),
      ...(node.overload === '' ? [] : [string(8, node.overload)]),
    ];
  }

  #attribute(name: string, attribute: Attribute): Bytes[] {
    const of = (type: number, ...fields: Bytes[]): Bytes[] => [string(1, name), ...fields, int(20, type)];
    switch (attribute.type) {
      case 'float':
        return of(1, float(2, attribute.value));
      case 'int':
        return of(2, int(3, attribute.value));
      case 'string':
        return of(3, string(4, attribute.value));
      case 'tensor':
        return of(4, message(5, this.#tensor(attribute.value.name, attribute.value)));
      case 'graph':
        return of(5, message(6, this.graph(attribute.value)));
      case 'floats':
        return of(6, ...attribute.value.map((value) => float(7, value)));
      case 'ints':
        return of(7, ...attribute.value.map((value) => int(8, value)));
      case 'strings':
        return of(8, ...strings(9, attribute.value));
      case 'tensors':
        return of(9, ...attribute.value.map((ref) => message(10, this.#tensor(ref.name, ref))));
      case 'graphs':
        return of(10, ...attribute.value.map((graph) => message(11, this.graph(graph))));
      case 'reference':
        return [string(1, name), string(21, attribute.name)];
      case 'unsupported':
        throw new Error(`Attribute '${name}' is a ${attribute.kind}, which cannot be written.`);
    }
  }

  #tensor(name: string, ref: TensorRef): Bytes[] {
    const { dims, dtype, data } = ref;
    const head = [message(1, dims.map(varint)), int(2, codeOf(dtype))];
    if (data.kind === 'strings') return [...head, ...strings(6, data.values), string(8, name)];
    if (data.kind === 'inline') return [...head, string(8, name), message(9, [data.bytes])];
    const isKept = this.#keepPlaces && data.kind === 'missing';
    const location = isKept ? data.location : `tensor${this.external.size}`;
    if (!isKept) this.external.set(location, ref);
    const entry = (key: string, value: string): Bytes => message(13, [string(1, key), string(2, value)]);
    const length = String(bytesOf(dtype, sizeOf(dims)));
    return [
      ...head,
      string(8, name),
      entry('location', location),
      entry('offset', String(isKept ? data.offset : 0)),
      entry('length', length),
      int(14, 1),
    ];
  }
}

function valueInfo({ name, dtype, shape }: ModelValue): Bytes[] {
  if (dtype === undefined) return [string(1, name)];
  const dims = shape?.map((dim) =>
    message(1, dim === undefined ? [] : [typeof dim === 'number' ? int(1, dim) : string(2, dim)]),
  );
  const type = [int(1, codeOf(dtype)), ...(dims ? [message(2, dims)] : [])];
  return [string(1, name), message(2, [message(1, type)])];
}

function opsets(field: number, versions: ReadonlyMap<string, number>): Bytes[] {
  return [...versions].map(([domain, version]) => message(field, [string(1, domain), int(2, version)]));
}
