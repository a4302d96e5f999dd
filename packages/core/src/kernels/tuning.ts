import type { GemmChoice } from './gemm/choose.ts';
import type { GemmProblem } from './gemm/problem.ts';

/**
 * Overrides of the cost rules by which kernels choose among their variants: what measuring on a device found better,
 * or what a test or benchmark wants to see run.
 */
export interface KernelTuning {
  /** @param rule what the cost rules chose */
  gemm?(problem: GemmProblem, rule: GemmChoice): GemmChoice;
}
