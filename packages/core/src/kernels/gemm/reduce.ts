import type { DispatchSpec } from '../../plan/lowering.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { partialElements, partialPlace, type PartialSums } from './output.ts';
import type { GemmProblem } from './problem.ts';
import source from './reduce.wgsl';

const WORKGROUP = 256;

/** Sums partial results, applies the epilogue and stores. Also brings padded rows to outputs of odd width. */
export function reduceKernel(problem: GemmProblem, partial: PartialSums): DispatchSpec {
  const { view } = problem.output;
  const epilogue = epilogueCode(problem.epilogue, view);
  const elements = sizeOf(view.shape);
  return {
    name: `${problem.name}_reduce`,
    body: source,
    inputs: { P: partial.view, ...epilogue.inputs },
    outputs: { Y: view },
    constants: { WORKGROUP, WHOLE_GROUPS: problem.columns % 4 === 0 },
    functions: epilogue.functions,
    params: {
      elements: u32(elements),
      slices: u32(partial.slices),
      slice: u32(partialElements(problem)),
      columns: u32(problem.columns),
      pitch: u32(partialPlace(problem).pitch),
      ...epilogue.params,
    },
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
  };
}
