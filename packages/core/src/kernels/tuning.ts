import type { AttentionChoice } from './attention/choose.ts';
import type { AttentionProblem } from './attention/problem.ts';
import type { GemmChoice } from './gemm/choose.ts';
import type { GemmProblem } from './gemm/problem.ts';

/**
 * Overrides of the cost rules by which kernels choose among their variants: what measuring on a device found better,
 * or what a test or benchmark wants to see run. `rule` is what the cost rules chose.
 */
export interface KernelTuning {
  gemm?(problem: GemmProblem, rule: GemmChoice): GemmChoice;
  attention?(problem: AttentionProblem, rule: AttentionChoice): AttentionChoice;
  /** Copies what a kernel could read from two tensors, to see what that is worth. */
  copiesPairs?: boolean;
  /** Whether products leave moments for the GroupNorms after them; by size otherwise. */
  producedMoments?: boolean;
}
