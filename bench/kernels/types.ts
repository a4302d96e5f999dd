import type { Precision } from '@calotype/core';
import type { KernelCase } from './cases.ts';

/** One variant of a kernel on one case. */
export interface KernelRow {
  /** Name of the kernel and how it was shaped; `rule` first where the cost rules chose it. */
  variant: string;
  /** Time of one call in µs; absent where only correctness was looked at. */
  microseconds?: number;
  teraflops?: number;
  gigabytes?: number;
  /** ‖difference‖ / ‖reference‖ against the simplest kernel in f32. */
  relativeL2: number;
  error?: string;
}

export interface KernelBenchOptions {
  precision: Precision;
  /** Time too, not only compare. */
  time: boolean;
}

/** What the page offers to the command. */
export interface KernelPage {
  /**
   * Names of the ways to run a case: `rule`, what the cost rules choose, and those that match a pattern.
   */
  variants(item: KernelCase, precision: Precision, pattern: string | undefined): Promise<string[]>;
  /** Runs some of them, compiled at once. */
  run(item: KernelCase, names: readonly string[], options: KernelBenchOptions): Promise<KernelRow[]>;
}
