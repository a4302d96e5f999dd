import { codeOf } from '../src/onnx/element-types.ts';
import {
  fixed,
  float,
  int,
  join,
  message,
  string,
  strings,
  varint,
  type Bytes,
} from '../src/onnx/wire-writer.ts';
import type { DataType } from '../src/tensor/dtype.ts';

// Writes small ONNX files for tests, also such as no exporter would. Field numbers are onnx.proto's.

/** A tensor: its bytes as raw_data, or numbers as the typed field of its dtype, or a place in another file. */
export interface TensorSpec {
  name?: string;
  dtype: DataType;
  dims: readonly number[];
  raw?: Uint8Array;
  floats?: readonly number[];
  doubles?: readonly number[];
  int32s?: readonly number[];
  int64s?: readonly (number | bigint)[];
  uint64s?: readonly (number | bigint)[];
  strings?: readonly string[];
  external?: Readonly<Record<string, string>>;
}

/** Exactly one of these. */
export type AttributeSpec =
  | { float: number }
  | { int: number | bigint }
  | { string: string }
  | { tensor: TensorSpec }
  | { graph: GraphSpec }
  | { floats: readonly number[] }
  | { ints: readonly (number | bigint)[] }
  | { strings: readonly string[] }
  | { tensors: readonly TensorSpec[] }
  | { graphs: readonly GraphSpec[] }
  | { ref: string };

export interface NodeSpec {
  op: string;
  name?: string;
  domain?: string;
  overload?: string;
  inputs?: readonly string[];
  outputs?: readonly string[];
  attributes?: Readonly<Record<string, AttributeSpec>>;
}

export interface ValueSpec {
  name: string;
  dtype?: DataType;
  /** Undefined dimensions are unknown; without a shape the rank is. */
  shape?: readonly (number | string | undefined)[];
}

export interface GraphSpec {
  name?: string;
  nodes?: readonly NodeSpec[];
  inputs?: readonly ValueSpec[];
  outputs?: readonly ValueSpec[];
  initializers?: Readonly<Record<string, TensorSpec>>;
  values?: readonly ValueSpec[];
}

export interface FunctionSpec {
  name: string;
  domain: string;
  overload?: string;
  inputs?: readonly string[];
  outputs?: readonly string[];
  attributes?: readonly string[];
  attributeDefaults?: Readonly<Record<string, AttributeSpec>>;
  opsets?: Readonly<Record<string, number>>;
  nodes?: readonly NodeSpec[];
}

export interface ModelSpec extends GraphSpec {
  irVersion?: number;
  producer?: string;
  /** By domain; ONNX's own is ''. `{ '': 17 }` by default. */
  opsets?: Readonly<Record<string, number>>;
  functions?: readonly FunctionSpec[];
}

/** The bytes of an ONNX file. */
export function model(spec: ModelSpec): Uint8Array<ArrayBuffer> {
  return join([
    int(1, spec.irVersion ?? 8),
    string(2, spec.producer ?? 'test'),
    message(7, graph(spec)),
    ...opsets(8, spec.opsets ?? { '': 17 }),
    ...(spec.functions ?? []).map((called) => message(25, functionProto(called))),
  ]);
}

/** A float32 tensor as raw_data. */
export function float32(dims: readonly number[], values: readonly number[]): TensorSpec {
  return { dtype: 'float32', dims, raw: new Uint8Array(Float32Array.from(values).buffer) };
}

/** An int64 tensor as raw_data. */
export function int64(dims: readonly number[], values: readonly number[]): TensorSpec {
  return { dtype: 'int64', dims, raw: new Uint8Array(BigInt64Array.from(values, BigInt).buffer) };
}

function graph(spec: GraphSpec): Bytes[] {
  return [
    ...(spec.nodes ?? []).map((n) => message(1, node(n))),
    string(2, spec.name ?? 'graph'),
    ...Object.entries(spec.initializers ?? {}).map(([name, t]) => message(5, tensor({ ...t, name }))),
    ...(spec.inputs ?? []).map((v) => message(11, value(v))),
    ...(spec.outputs ?? []).map((v) => message(12, value(v))),
    ...(spec.values ?? []).map((v) => message(13, value(v))),
  ];
}

function node(spec: NodeSpec): Bytes[] {
  return [
    ...strings(1, spec.inputs),
    ...strings(2, spec.outputs),
    string(3, spec.name ?? ''),
    string(4, spec.op),
    ...Object.entries(spec.attributes ?? {}).map(([name, a]) => message(5, attribute(name, a))),
    string(7, spec.domain ?? ''),
    ...(spec.overload === undefined ? [] : [string(8, spec.overload)]),
  ];
}

function attribute(name: string, spec: AttributeSpec): Bytes[] {
  const of = (type: number, ...fields: Bytes[]): Bytes[] => [string(1, name), ...fields, int(20, type)];
  if ('float' in spec) return of(1, float(2, spec.float));
  if ('int' in spec) return of(2, int(3, spec.int));
  if ('string' in spec) return of(3, string(4, spec.string));
  if ('tensor' in spec) return of(4, message(5, tensor(spec.tensor)));
  if ('graph' in spec) return of(5, message(6, graph(spec.graph)));
  // Exporters write these two unpacked, as onnx.proto has it.
  if ('floats' in spec) return of(6, ...spec.floats.map((v) => float(7, v)));
  if ('ints' in spec) return of(7, ...spec.ints.map((v) => int(8, v)));
  if ('strings' in spec) return of(8, ...strings(9, spec.strings));
  if ('tensors' in spec) return of(9, ...spec.tensors.map((t) => message(10, tensor(t))));
  if ('graphs' in spec) return of(10, ...spec.graphs.map((g) => message(11, graph(g))));
  return of(1, string(21, spec.ref));
}

function tensor(spec: TensorSpec): Bytes[] {
  const packed = (field: number, values: readonly (number | bigint)[] | undefined): Bytes[] =>
    values === undefined ? [] : [message(field, values.map(varint))];
  return [
    ...packed(1, spec.dims),
    int(2, codeOf(spec.dtype)),
    ...(spec.floats ? [message(4, [fixed(spec.floats, 4)])] : []),
    ...packed(5, spec.int32s),
    ...strings(6, spec.strings),
    ...packed(7, spec.int64s),
    string(8, spec.name ?? ''),
    ...(spec.raw ? [message(9, [spec.raw])] : []),
    ...(spec.doubles ? [message(10, [fixed(spec.doubles, 8)])] : []),
    ...packed(11, spec.uint64s),
    ...Object.entries(spec.external ?? {}).map(([k, v]) => message(13, [string(1, k), string(2, v)])),
    ...(spec.external ? [int(14, 1)] : []),
  ];
}

function value(spec: ValueSpec): Bytes[] {
  const dim = (d: number | string | undefined): Bytes =>
    message(1, d === undefined ? [] : [typeof d === 'number' ? int(1, d) : string(2, d)]);
  const shape = spec.shape === undefined ? [] : [message(2, spec.shape.map(dim))];
  const type =
    spec.dtype === undefined ? [] : [message(2, [message(1, [int(1, codeOf(spec.dtype)), ...shape])])];
  return [string(1, spec.name), ...type];
}

function functionProto(spec: FunctionSpec): Bytes[] {
  return [
    string(1, spec.name),
    ...strings(4, spec.inputs),
    ...strings(5, spec.outputs),
    ...strings(6, spec.attributes),
    ...(spec.nodes ?? []).map((n) => message(7, node(n))),
    ...opsets(9, spec.opsets ?? { '': 17 }),
    string(10, spec.domain),
    ...Object.entries(spec.attributeDefaults ?? {}).map(([name, a]) => message(11, attribute(name, a))),
    ...(spec.overload === undefined ? [] : [string(13, spec.overload)]),
  ];
}

function opsets(field: number, versions: Readonly<Record<string, number>>): Bytes[] {
  return Object.entries(versions).map(([domain, version]) =>
    message(field, [string(1, domain), int(2, version)]),
  );
}
