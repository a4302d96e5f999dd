import { UnsupportedOpError } from '../errors.ts';
import type { NodeParts } from '../graph/emit.ts';
import type { Value } from '../graph/graph.ts';
import type { Model, ModelValue } from '../onnx/model.ts';
import { writeModel } from '../onnx/write.ts';
import { inlineTensor } from '../plan/island-model.ts';
import type { TensorType } from '../ops/op.ts';
import { isFloat, type DataType } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import { withOrt, type Ort } from './runtime.ts';

const known = new Map<string, Promise<TensorType[]>>();

/**
 * Asks onnxruntime for the types of what an operator gives that the engine knows nothing of.
 *
 * @param outputs names; `''` where nobody wants one
 * @throws UnsupportedOpError when it does not know the operator either, or the shapes depend on data
 */
export function inferWithOrt(node: NodeParts, outputs: readonly string[]): Promise<TensorType[]> {
  const key = keyOf(node, outputs);
  const before = known.get(key);
  if (before) return before;
  const asked = ask(node, outputs, (dtype) => dtype).catch((error: unknown) => {
    // Few operators have kernels for halves on the CPU, which is where it is asked.
    const half = node.inputs.find(
      (value) => value && isFloat(value.dtype) && value.dtype !== 'float32',
    )?.dtype;
    if (half === undefined) throw refusal(node, error);
    return ask(node, outputs, single).then(
      (types) => types.map((type) => (type.dtype === 'float32' ? { ...type, dtype: half } : type)),
      (again: unknown) => {
        throw refusal(node, again);
      },
    );
  });
  known.set(key, asked);
  asked.catch(() => known.delete(key));
  return asked;
}

function single(dtype: DataType): DataType {
  return isFloat(dtype) ? 'float32' : dtype;
}

function refusal(node: NodeParts, error: unknown): UnsupportedOpError {
  const { op, domain, opset, name } = node;
  const why = error instanceof Error ? error.message : String(error);
  return new UnsupportedOpError([
    {
      op,
      domain,
      opset,
      node: name,
      reason: `it is not defined, and onnxruntime cannot run it either (${why})`,
    },
  ]);
}

async function ask(
  node: NodeParts,
  outputs: readonly string[],
  convert: (dtype: DataType) => DataType,
): Promise<TensorType[]> {
  const { bytes } = writeModel(questionModel(node, outputs, convert));
  const metadata = await withOrt(async (ort) => {
    const session = await ort.InferenceSession.create(bytes, {
      executionProviders: ['wasm'],
      logSeverityLevel: 4,
    });
    const found = session.outputMetadata;
    await session.release();
    return found;
  });
  const byName = new Map(metadata.map((value) => [value.name, value]));
  return outputs.map((output, index) => {
    if (output === '') return { dtype: 'float32', shape: [] };
    const value = byName.get(`y${index}`);
    if (!value?.isTensor) throw new Error(`its result ${index} is no tensor`);
    return { dtype: value.type, shape: shapeOf(value, byName.get(`rank${index}`), index) };
  });
}

/** Dimensions as inferred. An unknown rank looks like a scalar, so the model also asks for the shape's own shape. */
function shapeOf(
  value: Ort.InferenceSession.TensorValueMetadata,
  rank: Ort.InferenceSession.ValueMetadata | undefined,
  index: number,
): number[] {
  // A dimension of -1, one that is not known, comes as 2^32 - 1.
  const dims = value.shape.filter((dim) => typeof dim === 'number' && dim < 2 ** 31) as number[];
  const isKnown = rank?.isTensor === true && rank.shape[0] === value.shape.length;
  if (!isKnown || dims.length < value.shape.length)
    throw new Error(`the shape of its result ${index} depends on data`);
  return dims;
}

function questionModel(
  node: NodeParts,
  outputs: readonly string[],
  convert: (dtype: DataType) => DataType,
): Model {
  const names = new Map<Value, string>();
  const inputs: ModelValue[] = [];
  const initializers: Model['graph']['initializers'] = new Map();
  for (const value of node.inputs) {
    if (!value || names.has(value)) continue;
    const name = `x${names.size}`;
    names.set(value, name);
    const dtype = convert(value.dtype);
    const { origin, shape } = value;
    if (origin.kind === 'constant') initializers.set(name, inlineTensor(name, shape, dtype, origin.data));
    else inputs.push({ name, dtype, shape: [...shape] });
  }
  const results = outputs.map((name, index) => (name === '' ? '' : `y${index}`));
  const wanted = results.flatMap((name, index) => (name === '' ? [] : [index]));
  const blank = { name: '', overload: '', attributes: new Map() };
  const untyped = { dtype: undefined, shape: undefined };
  return {
    irVersion: 10,
    producer: 'calotype',
    opsets: new Map([
      ['', 17],
      [node.domain, node.opset],
    ]),
    graph: {
      name: 'question',
      nodes: [
        {
          ...blank,
          op: node.op,
          domain: node.domain,
          attributes: node.attributes,
          inputs: node.inputs.map((value) => (value ? names.get(value)! : '')),
          outputs: results,
        },
        ...wanted.map((index) => ({
          ...blank,
          op: 'Shape',
          domain: '',
          inputs: [`y${index}`],
          outputs: [`rank${index}`],
        })),
      ],
      inputs,
      outputs: wanted.flatMap((index) => [
        { name: `y${index}`, ...untyped },
        { name: `rank${index}`, ...untyped },
      ]),
      initializers,
      values: new Map(),
    },
    functions: [],
    files: [],
  };
}

function keyOf(node: NodeParts, outputs: readonly string[]): string {
  const inputs = node.inputs.map((value) =>
    value
      ? [
          value.dtype,
          formatShape(value.shape),
          value.origin.kind === 'constant' ? [...value.origin.data] : '',
        ]
      : '',
  );
  const attributes = [...node.attributes].map(([name, attribute]) => [
    name,
    'value' in attribute ? attribute.value : '',
  ]);
  return JSON.stringify([
    node.op,
    node.domain,
    node.opset,
    inputs,
    attributes,
    outputs.map((name) => name !== ''),
  ]);
}
