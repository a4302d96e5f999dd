import type { ByteSource } from '../source/source.ts';
import type { DataType } from '../tensor/dtype.ts';

/** An ONNX file as read: names and structure as the file has them, weights as references. Plain data. */
export interface Model {
  irVersion: number;
  /** Exporter and its version, e.g. `pytorch 2.11.0`. May be empty. */
  producer: string;
  /** Operator set versions by domain. ONNX's own domain is `''`, also where the file spells it `ai.onnx`. */
  opsets: Map<string, number>;
  graph: ModelGraph;
  functions: ModelFunction[];
  /** The file it was read from and those of its external data, as far as they are there. */
  files: ByteSource[];
}

/** A graph: the model's own or one in an attribute of `If`, `Loop` or `Scan`. */
export interface ModelGraph {
  name: string;
  nodes: ModelNode[];
  /** Old files (IR version 3) list initializers among the inputs too. */
  inputs: ModelValue[];
  outputs: ModelValue[];
  initializers: Map<string, TensorRef>;
  /** What the exporter noted about values inside the graph. Often incomplete. */
  values: Map<string, ModelValue>;
}

/** One operator call. */
export interface ModelNode {
  /** May be empty and need not be unique. */
  name: string;
  op: string;
  /** `''` is ONNX's own. */
  domain: string;
  /** Which of several functions of that name is called. Almost always `''`. */
  overload: string;
  /** `''` stands for an optional input that is absent. */
  inputs: string[];
  /** `''` stands for an output that nobody wants. */
  outputs: string[];
  attributes: Map<string, Attribute>;
  /** Path of the PyTorch module that the node came from, where the exporter noted it: `down_blocks.0.attentions.0`. */
  module?: string;
}

/** Attribute of a node. Integers beyond ±(2^53 - 1), such as INT64_MAX for "to the end", are clamped to that. */
export type Attribute =
  | { type: 'float'; value: number }
  | { type: 'int'; value: number }
  | { type: 'string'; value: string }
  | { type: 'tensor'; value: TensorRef }
  | { type: 'graph'; value: ModelGraph }
  | { type: 'floats'; value: number[] }
  | { type: 'ints'; value: number[] }
  | { type: 'strings'; value: string[] }
  | { type: 'tensors'; value: TensorRef[] }
  | { type: 'graphs'; value: ModelGraph[] }
  /** In the body of a function: the value of the caller's attribute `name`. */
  | { type: 'reference'; name: string }
  /** A kind of attribute that nothing here reads, by ONNX's name for it. */
  | { type: 'unsupported'; kind: 'sparse_tensor' | 'type_proto' };

/** What a file says about one value. */
export interface ModelValue {
  name: string;
  /** Undefined where the file does not say, or where the value is no tensor. */
  dtype: DataType | undefined;
  /** Symbolic dimensions by name; undefined where unknown. */
  shape: (number | string | undefined)[] | undefined;
}

/** A constant tensor. Its bytes (`readTensor`) are always in ONNX's raw little-endian layout, 4-bit types two a byte. */
export interface TensorRef {
  name: string;
  dtype: DataType;
  dims: number[];
  data: TensorData;
}

/** Where the bytes of a constant are. */
export type TensorData =
  | { kind: 'inline'; bytes: Uint8Array<ArrayBuffer> }
  | { kind: 'range'; source: ByteSource; offset: number; length: number }
  /** External data whose file is not there (`allowMissingExternalData`). `location` is relative to the store. */
  | { kind: 'missing'; location: string; offset: number; length: number }
  /** Tensors of strings have no raw layout. */
  | { kind: 'strings'; values: string[] };

/** An operator written out as nodes, called by a node of the same domain, name and overload. */
export interface ModelFunction {
  name: string;
  domain: string;
  overload: string;
  inputs: string[];
  outputs: string[];
  /** Names of attributes without default. */
  attributes: string[];
  attributeDefaults: Map<string, Attribute>;
  opsets: Map<string, number>;
  nodes: ModelNode[];
}
