import { call, input } from '../../graph/expr.ts';
import { isProcessor } from '../../plan/capabilities.ts';
import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { before } from '../gemm/epilogue.ts';
import { gemm } from '../gemm/gemm.ts';
import { f32, u32 } from '../shader.ts';
import type { AttentionProblem } from './problem.ts';
import { maskCode, SCORE_CONSTANTS } from './shared.ts';
import source from './weights.wgsl';

/**
 * Attention by two products with the scores of some queries between them in memory: for heads too large for registers
 * (the single head of 512 in VAEs), where products run several times faster than flash kernels. At most `SCORE_BYTES` of
 * scores exist at a time.
 */
export interface ScoresShape {
  /** Queries at a time: a multiple of 4, or all. */
  rows: number;
}

/** Bytes of f32 scores at a time. */
const SCORE_BYTES = 64 * 2 ** 20;

export function scoresShape({ heads, queries, keys }: AttentionProblem, bindingBytes: number): ScoresShape {
  const perQuery = heads * Math.ceil(keys / 4) * 16;
  const rows = Math.floor(Math.min(SCORE_BYTES, bindingBytes) / perQuery / 64) * 64;
  return { rows: Math.min(queries, Math.max(4, rows)) };
}

export function scoresAttention(lowering: Lowering, problem: AttentionProblem, { rows }: ScoresShape): void {
  for (let b = 0; b < problem.batch; b++) {
    for (let first = 0; first < problem.queries; first += rows) {
      someQueries(lowering, problem, b, first, Math.min(rows, problem.queries - first));
    }
  }
}

function someQueries(
  lowering: Lowering,
  problem: AttentionProblem,
  b: number,
  first: number,
  rows: number,
): void {
  const { q, k, v, heads, keyHeads, queries, keys, headSize, valueSize, output } = problem;
  const pitch = Math.ceil(keys / 4) * 4;
  const share = heads / keyHeads;
  const batch = [keyHeads, share];
  const at = (view: TensorView, row: number): TensorView => ({
    ...view,
    offset: view.offset + b * view.strides[0]! + row * view.strides[2]!,
  });
  const scores = lowering.scratch('scores', [heads, rows, pitch], 'f32');
  gemm(lowering, {
    name: 'attention_scores',
    rows,
    batch,
    columns: keys,
    depth: headSize,
    a: {
      kind: 'dense',
      view: at(q, first),
      rowStride: q.strides[2]!,
      batchStrides: [q.strides[1]! * share, q.strides[1]!],
    },
    b: {
      kind: 'activation',
      view: at(k, 0),
      layout: 'nk',
      stride: k.strides[2]!,
      batchStrides: [k.strides[1]!, 0],
    },
    output: { view: scores, pitch, batchStride: rows * pitch, part: { offset: 0 } },
  });

  const storage = lowering.precision === 'f32' ? 'f32' : 'f16';
  const weights = lowering.scratch('weights', [heads, rows, pitch], storage);
  const factors = lowering.scratch('factors', [heads, rows, 4], 'f32');
  const mask = maskCode(problem);
  lowering.dispatch({
    name: `attention_weights${problem.causal ? '_causal' : ''}${problem.mask ? '_masked' : ''}`,
    body: source,
    inputs: { S: scores, ...mask.inputs },
    outputs: { W: weights, F: factors },
    constants: {
      WORKGROUP: isProcessor(lowering.capabilities) ? 4 : 128,
      MASKED: problem.mask !== undefined,
      CAUSAL: problem.causal,
    },
    functions: `${SCORE_CONSTANTS}
${mask.functions || 'fn masked(score: f32, b: u32, h: u32, row: u32, key: u32) -> f32 { return score; }'}`,
    params: {
      workgroups: u32(heads * rows),
      rows: u32(rows),
      first_row: u32(first),
      batch: u32(b),
      keys: u32(keys),
      pitch: u32(pitch),
      scale: f32(problem.scale * Math.LOG2E),
      ...mask.params,
    },
    workgroups: heads * rows,
  });

  // The factors of these queries, seen as if there were some for all: only elements of this part are read.
  const factor: TensorView = {
    ...factors,
    shape: [problem.batch, heads, queries, 1],
    strides: [0, rows * 4, 4, 0],
    offset: -first * 4,
  };
  gemm(lowering, {
    name: 'attention_values',
    rows,
    batch,
    columns: valueSize,
    depth: keys,
    a: {
      kind: 'dense',
      view: weights,
      rowStride: pitch,
      batchStrides: [rows * pitch * share, rows * pitch],
    },
    b: {
      kind: 'activation',
      view: at(v, 0),
      layout: 'kn',
      stride: v.strides[2]!,
      batchStrides: [v.strides[1]!, 0],
    },
    output: {
      view: output,
      pitch: output.strides[2]!,
      batchStride: output.strides[1]!,
      part: { offset: b * output.strides[0]! + first * output.strides[2]! },
    },
    epilogue: before(call('mul', [input(0), input(1)]), [factor], problem.epilogue),
  });
}
