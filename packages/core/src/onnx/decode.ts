import { decodeTensor, type TensorContext } from './decode-tensor.ts';
import { dtypeOf } from './element-types.ts';
import type {
  Attribute,
  Model,
  ModelFunction,
  ModelGraph,
  ModelNode,
  ModelValue,
  TensorRef,
} from './model.ts';
import { type WireReader, wireType } from './wire.ts';

// One function per message of onnx.proto, by field number. Unknown fields are skipped. A field read here that can be
// long must also be listed in structure.ts.

/** Decodes a ModelProto. Throws `InvalidModelError`. */
export function decodeModel(reader: WireReader, context: TensorContext): Model {
  const opsets = new Map<string, number>();
  const functions: ModelFunction[] = [];
  const known = new Set<string>();
  let graph: ModelGraph | undefined;
  let irVersion = 0;
  let producer = '';
  let version = '';
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    const at = reader.position;
    if (field === 1) irVersion = reader.int64();
    else if (field === 2) producer = reader.string();
    else if (field === 3) version = reader.string();
    else if (field === 7) {
      if (graph !== undefined) reader.fail('the model holds two graphs', at);
      graph = reader.message(() => decodeGraph(reader, context));
    } else if (field === 8) reader.message(() => decodeOpset(reader, opsets));
    else if (field === 25) {
      const called = reader.message(() => decodeFunction(reader, context));
      claim(reader, known, `${called.domain}:${called.name}:${called.overload}`, 'function', at);
      functions.push(called);
    } else reader.skip();
  }
  if (graph === undefined) reader.fail('no graph in it: not an ONNX model, or a truncated one');
  return { irVersion, producer: `${producer} ${version}`.trim(), opsets, graph, functions, files: [] };
}

function decodeOpset(reader: WireReader, opsets: Map<string, number>): void {
  const at = reader.position;
  let domain = '';
  let version = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) domain = domainOf(reader.string());
    else if (field === 2) version = reader.int64();
    else reader.skip();
  }
  if ((opsets.get(domain) ?? version) !== version) {
    reader.fail(
      `opset ${opsets.get(domain)} and opset ${version} of domain '${domain}' are both imported`,
      at,
    );
  }
  opsets.set(domain, version);
}

function decodeGraph(reader: WireReader, context: TensorContext): ModelGraph {
  const graph: ModelGraph = {
    name: '',
    nodes: [],
    inputs: [],
    outputs: [],
    initializers: new Map<string, TensorRef>(),
    values: new Map<string, ModelValue>(),
  };
  const inputs = new Set<string>();
  const outputs = new Set<string>();
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    const at = reader.position;
    if (field === 1) graph.nodes.push(reader.message(() => decodeNode(reader, context)));
    else if (field === 2) graph.name = reader.string();
    else if (field === 5) {
      const tensor = reader.message(() => decodeTensor(reader, context));
      if (tensor.name === '') reader.fail('an initializer without a name', at);
      if (graph.initializers.has(tensor.name)) reader.fail(`two initializers named '${tensor.name}'`, at);
      graph.initializers.set(tensor.name, tensor);
    } else if (field === 11) graph.inputs.push(namedValue(reader, inputs, 'graph input'));
    else if (field === 12) graph.outputs.push(namedValue(reader, outputs, 'graph output'));
    else if (field === 13) {
      const value = reader.message(() => decodeValue(reader));
      graph.values.set(value.name, value);
    } else if (field === 15) reader.fail('sparse initializers are not supported', at);
    else reader.skip();
  }
  checkSingleAssignment(reader, graph.nodes, [...inputs, ...graph.initializers.keys()]);
  return graph;
}

/** Every value has one producer. */
function checkSingleAssignment(
  reader: WireReader,
  nodes: readonly ModelNode[],
  given: Iterable<string>,
): void {
  const assigned = new Set(given);
  for (const node of nodes) {
    for (const output of node.outputs) {
      if (output === '') continue;
      if (assigned.has(output))
        reader.fail(`value '${output}' is produced twice, once by ${node.op} '${node.name}'`);
      assigned.add(output);
    }
  }
}

function decodeNode(reader: WireReader, context: TensorContext): ModelNode {
  const node: ModelNode = {
    name: '',
    op: '',
    domain: '',
    overload: '',
    inputs: [],
    outputs: [],
    attributes: new Map<string, Attribute>(),
  };
  const start = reader.position;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) node.inputs.push(reader.string());
    else if (field === 2) node.outputs.push(reader.string());
    else if (field === 3) node.name = reader.string();
    else if (field === 4) node.op = reader.string();
    else if (field === 5) readAttribute(reader, context, node.attributes);
    else if (field === 7) node.domain = domainOf(reader.string());
    else if (field === 8) node.overload = reader.string();
    else if (field === 9) {
      const module = reader.message(() => decodeModule(reader));
      if (module !== undefined) node.module = module;
    } else reader.skip();
  }
  if (node.op === '') reader.fail(`node '${node.name}' names no operator`, start);
  return node;
}

/** One of a node's notes: the one in which PyTorch's exporter lists the modules around the node, outermost first. */
function decodeModule(reader: WireReader): string | undefined {
  let isScopes = false;
  let module: string | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) isScopes = reader.string() === 'pkg.torch.onnx.name_scopes';
    // A list as Python prints it; the last name is the node's own.
    else if (field === 2 && isScopes) module = [...reader.string().matchAll(/'([^']*)'/g)].at(-2)?.[1];
    else reader.skip();
  }
  return module === '' ? undefined : module;
}

function readAttribute(reader: WireReader, context: TensorContext, attributes: Map<string, Attribute>): void {
  const at = reader.position;
  const [name, attribute] = reader.message(() => decodeAttribute(reader, context));
  if (attributes.has(name)) reader.fail(`attribute '${name}' is given twice`, at);
  attributes.set(name, attribute);
}

/** AttributeProto.AttributeType by number. */
const attributeTypes = [
  ...([
    'undefined',
    'float',
    'int',
    'string',
    'tensor',
    'graph',
    'floats',
    'ints',
    'strings',
    'tensors',
  ] as const),
  ...(['graphs', 'sparse_tensor', 'sparse_tensors', 'type_proto', 'type_protos'] as const),
];

function decodeAttribute(reader: WireReader, context: TensorContext): [string, Attribute] {
  const start = reader.position;
  let name = '';
  let reference = '';
  let code = 0;
  /** The type that the fields present speak of: files before IR version 2 have no other. */
  let implied = 0;
  let number = 0;
  let string = '';
  const floats: number[] = [];
  const ints: number[] = [];
  const strings: string[] = [];
  const tensors: TensorRef[] = [];
  const graphs: ModelGraph[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field >= 2 && field <= 11) implied = field - 1;
    if (field === 1) name = reader.string();
    else if (field === 2) number = reader.float32();
    else if (field === 3) number = reader.int64();
    else if (field === 4) string = reader.string();
    else if (field === 5 || field === 10) tensors.push(reader.message(() => decodeTensor(reader, context)));
    else if (field === 6 || field === 11) graphs.push(reader.message(() => decodeGraph(reader, context)));
    else if (field === 7) reader.repeated(wireType.fixed32, () => floats.push(reader.float32()));
    else if (field === 8) reader.repeated(wireType.varint, () => ints.push(reader.int64()));
    else if (field === 9) strings.push(reader.string());
    else if (field === 20) code = reader.int32();
    else if (field === 21) reference = reader.string();
    else reader.skip();
  }
  const fail = (message: string): never => reader.fail(`attribute '${name}': ${message}`, start);
  if (name === '') fail('has no name');
  if (reference !== '') return [name, { type: 'reference', name: reference }];
  const type = attributeTypes[code || implied];
  switch (type) {
    case 'float':
    case 'int':
      return [name, { type, value: number }];
    case 'string':
      return [name, { type, value: string }];
    case 'tensor':
      return [name, { type, value: tensors[0] ?? fail('holds no tensor') }];
    case 'graph':
      return [name, { type, value: graphs[0] ?? fail('holds no graph') }];
    case 'floats':
      return [name, { type, value: floats }];
    case 'ints':
      return [name, { type, value: ints }];
    case 'strings':
      return [name, { type, value: strings }];
    case 'tensors':
      return [name, { type, value: tensors }];
    case 'graphs':
      return [name, { type, value: graphs }];
    case 'sparse_tensor':
    case 'sparse_tensors':
      return [name, { type: 'unsupported', kind: 'sparse_tensor' }];
    case 'type_proto':
    case 'type_protos':
      return [name, { type: 'unsupported', kind: 'type_proto' }];
    default:
      return fail(`has the unknown type ${code}`);
  }
}

function namedValue(reader: WireReader, names: Set<string>, what: string): ModelValue {
  const at = reader.position;
  const value = reader.message(() => decodeValue(reader));
  if (value.name === '') reader.fail(`a ${what} without a name`, at);
  claim(reader, names, value.name, what, at);
  return value;
}

function claim(reader: WireReader, names: Set<string>, name: string, what: string, at: number): void {
  if (names.has(name)) reader.fail(`two ${what}s named '${name}'`, at);
  names.add(name);
}

function decodeValue(reader: WireReader): ModelValue {
  const value: ModelValue = { name: '', dtype: undefined, shape: undefined };
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) value.name = reader.string();
    else if (field === 2) reader.message(() => decodeType(reader, value));
    else reader.skip();
  }
  return value;
}

/** Reads a TypeProto. Only tensors have a dtype and a shape. */
function decodeType(reader: WireReader, value: ModelValue): void {
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) reader.message(() => decodeTensorType(reader, value));
    else reader.skip();
  }
}

function decodeTensorType(reader: WireReader, value: ModelValue): void {
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) value.dtype = dtypeOf(reader.int32());
    else if (field === 2) value.shape = reader.message(() => decodeShape(reader));
    else reader.skip();
  }
}

function decodeShape(reader: WireReader): (number | string | undefined)[] {
  const shape: (number | string | undefined)[] = [];
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) shape.push(reader.message(() => decodeDimension(reader)));
    else reader.skip();
  }
  return shape;
}

function decodeDimension(reader: WireReader): number | string | undefined {
  let dimension: number | string | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) dimension = reader.int64();
    else if (field === 2) dimension = reader.string() || undefined;
    else reader.skip();
  }
  // Some exporters write -1 for "unknown".
  return typeof dimension === 'number' && dimension < 0 ? undefined : dimension;
}

function decodeFunction(reader: WireReader, context: TensorContext): ModelFunction {
  const start = reader.position;
  const called: ModelFunction = {
    name: '',
    domain: '',
    overload: '',
    inputs: [],
    outputs: [],
    attributes: [],
    nodes: [],
    attributeDefaults: new Map<string, Attribute>(),
    opsets: new Map<string, number>(),
  };
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) called.name = reader.string();
    else if (field === 4) called.inputs.push(reader.string());
    else if (field === 5) called.outputs.push(reader.string());
    else if (field === 6) called.attributes.push(reader.string());
    else if (field === 7) called.nodes.push(reader.message(() => decodeNode(reader, context)));
    else if (field === 9) reader.message(() => decodeOpset(reader, called.opsets));
    else if (field === 10) called.domain = domainOf(reader.string());
    else if (field === 11) readAttribute(reader, context, called.attributeDefaults);
    else if (field === 13) called.overload = reader.string();
    else reader.skip();
  }
  if (called.name === '') reader.fail('a function without a name', start);
  checkSingleAssignment(reader, called.nodes, called.inputs);
  return called;
}

/** ONNX's own domain has two spellings. */
function domainOf(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}
