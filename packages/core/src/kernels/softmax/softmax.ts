import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { maxOf, sumOf, workgroupReduction } from '../reduction.ts';
import { hasVectorRows, rowsCode, rowsDesign, rowsWriter, type Rows } from '../rows.ts';
import source from './softmax.wgsl';

export interface SoftmaxTask {
  x: Rows;
  logarithm: boolean;
  /** Only where rows are whole vec4s (`hasVectorRows`). */
  epilogue: EpilogueViews | undefined;
  /** Dense, rows in the order of `x`. */
  y: TensorView;
}

/** Emits exp(x - max) / Σ exp(x - max) for each row, or its logarithm. */
export function softmax(lowering: Lowering, { x, y, logarithm, ...task }: SoftmaxTask): void {
  const vector = hasVectorRows(x);
  if (!vector && task.epilogue) throw new Error('Internal error: softmax of odd rows takes no epilogue');
  const { lanes, threads, perLane, keep } = rowsDesign(x.rows, x.length);
  const rows = rowsCode(x);
  const epilogue = epilogueCode(task.epilogue, y);
  lowering.dispatch({
    name: logarithm ? 'log_softmax' : 'softmax',
    body: source,
    inputs: { x: x.view, ...epilogue.inputs },
    outputs: { y },
    params: { ...rows.params, ...epilogue.params },
    constants: {
      WORKGROUP: threads,
      LANES: lanes,
      PER_LANE: keep ? perLane : 1,
      KEEP: keep,
      LOGARITHM: logarithm,
    },
    functions: [
      rows.functions,
      epilogue.functions,
      rowsWriter(vector),
      workgroupReduction('largest', maxOf('f32'), lanes, threads),
      workgroupReduction('total', sumOf('f32'), lanes, threads),
    ].join('\n'),
    workgroups: Math.ceil((x.rows * lanes) / threads),
    work: { flops: 5 * x.rows * x.length },
  });
}
