import {
  readTensor,
  type Attribute,
  type Model,
  type ModelGraph,
  type ModelNode,
  type TensorRef,
} from '@calotype/core/tools';
import { float16Value } from './reference.ts';
import { wholeModel, type WholeModel } from './whole-model.ts';

/** ONNX's codes of element types, as `Cast` names them. */
const FLOAT16 = 10;
const FLOAT32 = 1;

/**
 * The same model with float32 wherever it has float16, weights rounded as they are: what its numbers would be if
 * nothing were rounded on the way. onnxruntime's CPU provider rounds every activation of a float16 graph.
 */
export async function widened(model: Model): Promise<WholeModel> {
  return wholeModel({
    ...model,
    graph: await wideGraph(model.graph),
    functions: await Promise.all(
      model.functions.map(async (called) => ({ ...called, nodes: await wideNodes(called.nodes) })),
    ),
  });
}

async function wideGraph(graph: ModelGraph): Promise<ModelGraph> {
  const wide = <T extends { dtype: unknown }>(value: T): T =>
    value.dtype === 'float16' ? { ...value, dtype: 'float32' } : value;
  const initializers = [...graph.initializers].map(
    async ([name, ref]) => [name, await wideTensor(ref)] as const,
  );
  return {
    ...graph,
    nodes: await wideNodes(graph.nodes),
    inputs: graph.inputs.map(wide),
    outputs: graph.outputs.map(wide),
    values: new Map([...graph.values].map(([name, value]) => [name, wide(value)])),
    initializers: new Map(await Promise.all(initializers)),
  };
}

function wideNodes(nodes: readonly ModelNode[]): Promise<ModelNode[]> {
  return Promise.all(
    nodes.map(async (node) => {
      const attributes = [...node.attributes].map(
        async ([name, attribute]) => [name, await wideAttribute(name, attribute)] as const,
      );
      return { ...node, attributes: new Map(await Promise.all(attributes)) };
    }),
  );
}

async function wideAttribute(name: string, attribute: Attribute): Promise<Attribute> {
  switch (attribute.type) {
    case 'int':
      // Element types: of Cast and CastLike's kin (`to`), of generators and of DequantizeLinear.
      return /^(to|dtype|output_dtype)$/.test(name) && attribute.value === FLOAT16
        ? { type: 'int', value: FLOAT32 }
        : attribute;
    case 'tensor':
      return { type: 'tensor', value: await wideTensor(attribute.value) };
    case 'tensors':
      return { type: 'tensors', value: await Promise.all(attribute.value.map(wideTensor)) };
    case 'graph':
      return { type: 'graph', value: await wideGraph(attribute.value) };
    case 'graphs':
      return { type: 'graphs', value: await Promise.all(attribute.value.map(wideGraph)) };
    default:
      return attribute;
  }
}

async function wideTensor(ref: TensorRef): Promise<TensorRef> {
  if (ref.dtype !== 'float16') return ref;
  const bytes = (await readTensor(ref)).slice();
  const values = Float32Array.from(new Uint16Array(bytes.buffer), float16Value);
  return { ...ref, dtype: 'float32', data: { kind: 'inline', bytes: new Uint8Array(values.buffer) } };
}
