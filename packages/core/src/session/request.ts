import { ShapeError } from '../errors.ts';
import { printSymbolicType, type GraphTemplate } from '../graph/template.ts';
import type { CpuTensor, TensorType } from '../ops/op.ts';
import { fileStorage } from '../plan/storage.ts';
import type { Storage } from '../plan/plan.ts';
import { formatShape, sizeOf, type Shape } from '../tensor/shape.ts';
import { Tensor, toDoubles } from '../tensor/tensor.ts';

/** What is known of inputs before a run: a shape, or a tensor where shapes inside the graph depend on its elements. */
export type InputShapes = Readonly<Record<string, Shape | Tensor>>;

/** All that a plan depends on. Equal `key`, equal plan. */
export interface PlanRequest {
  types: ReadonlyMap<string, TensorType>;
  /** Storage in which each input is bound. */
  storages: ReadonlyMap<string, Storage>;
  /** Elements of the inputs that shapes depend on. */
  values: ReadonlyMap<string, CpuTensor>;
  key: string;
}

/**
 * @param valueInputs names of the inputs whose elements are wanted; read back where they lie on the GPU
 * @throws ShapeError where one of those is given by its shape only
 */
export async function planRequest(
  template: GraphTemplate,
  inputs: InputShapes,
  valueInputs: ReadonlySet<string>,
): Promise<PlanRequest> {
  const types = new Map<string, TensorType>();
  const storages = new Map<string, Storage>();
  const values = new Map<string, CpuTensor>();
  const parts: string[] = [];
  for (const [name, given] of Object.entries(inputs)) {
    const type = typeOf(template, name, given);
    types.set(name, type);
    const storage = given instanceof Tensor ? given.gpu?.storage : undefined;
    if (storage) storages.set(name, storage);
    else if (type.dtype !== 'string') storages.set(name, fileStorage[type.dtype]);
    let part = `${name}:${type.dtype}${formatShape(type.shape)}${storages.get(name)}`;
    if (valueInputs.has(name)) {
      const value = await valueOf(name, given);
      values.set(name, value);
      part += `=${value.data.join()}`;
    }
    parts.push(part);
  }
  return { types, storages, values, key: parts.toSorted().join(';') };
}

/**
 * The shapes that a graph declares for its inputs.
 *
 * @throws ShapeError where it leaves a dimension open
 */
export function declaredShapes(template: GraphTemplate): Record<string, number[]> {
  return Object.fromEntries(
    template.inputs.map((input) => {
      const shape = input.shape?.filter((dim) => typeof dim === 'number');
      if (shape && shape.length === input.shape?.length) return [input.name, shape];
      throw new ShapeError(`input '${input.name}'`, {
        expected: 'a shape to plan for',
        actual: 'none',
        hint: `The graph declares ${printSymbolicType(input)}.`,
      });
    }),
  );
}

function typeOf(template: GraphTemplate, name: string, given: Shape | Tensor): TensorType {
  if (given instanceof Tensor) return { dtype: given.dtype, shape: given.shape };
  const dtype = template.inputs.find((input) => input.name === name)?.dtype ?? 'float32';
  return { dtype, shape: given };
}

async function valueOf(name: string, given: Shape | Tensor): Promise<CpuTensor> {
  if (!(given instanceof Tensor)) {
    throw new ShapeError(`input '${name}'`, {
      expected: 'a tensor',
      actual: `the shape ${formatShape(given)} alone`,
      hint: 'Shapes inside the graph depend on its elements.',
    });
  }
  const { dtype, shape } = given;
  return { dtype, shape, data: toDoubles(dtype, await given.data(), sizeOf(shape)) };
}
