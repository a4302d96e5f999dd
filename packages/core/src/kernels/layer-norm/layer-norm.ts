import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { affineCode, type Affine } from '../affine.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { sumOf, workgroupReduction } from '../reduction.ts';
import { hasVectorRows, rowsCode, rowsDesign, rowsWriter, type Rows } from '../rows.ts';
import { f32 } from '../shader.ts';
import source from './layer_norm.wgsl';

/** `scale` and `bias` are as long as a row, dense, in buffers padded to whole vec4s. */
export interface LayerNormTask extends Affine {
  x: Rows;
  epsilon: number;
  /** Whether to subtract the mean: LayerNorm; otherwise RMSNorm. */
  center: boolean;
  /** Only where rows are whole vec4s (`hasVectorRows`). */
  epilogue: EpilogueViews | undefined;
  /** Dense, rows in the order of `x`. */
  y: TensorView;
  /** [rows] each, f32. */
  mean?: TensorView | undefined;
  inverseDeviation?: TensorView | undefined;
}

/** Emits (x - mean) / sqrt(variance + epsilon) * scale + bias for each row. */
export function layerNorm(lowering: Lowering, task: LayerNormTask): void {
  const { x, y, mean, inverseDeviation } = task;
  const vector = hasVectorRows(x);
  if (!vector && task.epilogue) throw new Error('Internal error: layer_norm of odd rows takes no epilogue');
  const design = rowsDesign(x.rows, x.length);
  const rows = rowsCode(x);
  const affine = affineCode(task, 4);
  const epilogue = epilogueCode(task.epilogue, y);
  const statistic = (name: string, view: TensorView | undefined): string =>
    `fn ${name}_out(row: u32, v: f32) { ${view ? `${name}_store(row, v);` : ''} }`;
  lowering.dispatch({
    name: task.center ? 'layer_norm' : 'rms_norm',
    body: source,
    inputs: { x: x.view, ...affine.inputs, ...epilogue.inputs },
    outputs: { y, ...(mean && { mean }), ...(inverseDeviation && { deviation: inverseDeviation }) },
    params: { ...rows.params, epsilon: f32(task.epsilon), ...epilogue.params },
    constants: {
      WORKGROUP: design.threads,
      LANES: design.lanes,
      PER_LANE: design.keep ? design.perLane : 1,
      KEEP: design.keep,
      CENTER: task.center,
    },
    functions: [
      rows.functions,
      affine.functions,
      epilogue.functions,
      rowsWriter(vector),
      statistic('mean', mean),
      statistic('deviation', inverseDeviation),
      workgroupReduction('total', sumOf('f32'), design.lanes, design.threads),
    ].join('\n'),
    workgroups: Math.ceil((x.rows * design.lanes) / design.threads),
    work: { flops: 8 * x.rows * x.length },
  });
}
