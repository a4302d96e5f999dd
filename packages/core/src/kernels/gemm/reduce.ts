import type { DispatchSpec } from '../../plan/lowering.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { gateCode, partialElements, partialPlace, type PartialSums } from './output.ts';
import { withoutGate, type GemmProblem } from './problem.ts';
import source from './reduce.wgsl';

const WORKGROUP = 256;

/**
 * Sums partial results, applies the epilogue and stores. Also brings padded rows to outputs of odd width.
 *
 * @param gated whether a gate was left to do (`withoutGate`)
 */
export function reduceKernel(problem: GemmProblem, partial: PartialSums, gated: boolean): DispatchSpec {
  const { view } = problem.output;
  const epilogue = epilogueCode(problem.epilogue, view);
  const elements = sizeOf(view.shape);
  const gate = gateCode(gated ? problem.gate : undefined);
  const sums = gated ? withoutGate(problem) : problem;
  return {
    name: `${problem.name}_reduce`,
    body: source,
    inputs: { P: partial.view, ...gate.inputs, ...epilogue.inputs },
    outputs: { Y: view },
    constants: { WORKGROUP, WHOLE_GROUPS: problem.columns % 4 === 0, GATED: gated },
    functions: [
      gated ? gate.functions : 'fn gated(a: vec4f, b: vec4f, n: u32) -> vec4f { return a; }',
      epilogue.functions,
    ].join('\n'),
    params: {
      elements: u32(elements),
      slices: u32(partial.slices),
      slice: u32(partialElements(sums)),
      columns: u32(problem.columns),
      pitch: u32(partialPlace(problem).pitch),
      ...gate.params,
      ...epilogue.params,
    },
    workgroups: Math.ceil(elements / (4 * WORKGROUP)),
  };
}
