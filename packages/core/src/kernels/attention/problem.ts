import type { TensorView } from '../../plan/plan.ts';
import type { EpilogueViews } from '../elementwise/epilogue.ts';

/** `softmax(scale · q kᵀ + mask) v` for every batch and head, never storing the scores. */
export interface AttentionProblem {
  batch: number;
  heads: number;
  /** Divides `heads`: each serves `heads / keyHeads` of them. */
  keyHeads: number;
  queries: number;
  keys: number;
  /** Size of a query and a key. */
  headSize: number;
  /** Size of a value. */
  valueSize: number;
  scale: number;
  /** Query s sees keys up to s. */
  causal: boolean;
  /** [B, H, S, D], the last axis contiguous. */
  q: TensorView;
  /** [B, K, T, D], the last axis contiguous. */
  k: TensorView;
  /** [B, K, T, E], the last axis contiguous. */
  v: TensorView;
  /** Broadcasts to [B, H, S, T]. Floats are added to the scores; of other types, zero excludes. */
  mask?: TensorView | undefined;
  /** [B, H, S, E], in memory [B, S, H, E]. */
  output: TensorView;
  epilogue?: EpilogueViews | undefined;
}

export function attentionFlops(problem: AttentionProblem): number {
  const { batch, heads, queries, keys, headSize, valueSize, causal } = problem;
  return (2 * batch * heads * queries * keys * (headSize + valueSize)) / (causal ? 2 : 1);
}
