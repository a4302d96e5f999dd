import type { AttentionChoice } from '../../packages/core/src/kernels/attention/choose.ts';
import { matrixTile } from '../../packages/core/src/kernels/gemm/choose-matrix.ts';
import { chooseFma, fmaTiles, type FmaTileName } from '../../packages/core/src/kernels/gemm/choose-fma.ts';
import type { GemmChoice } from '../../packages/core/src/kernels/gemm/choose.ts';
import type { GemmProblem } from '../../packages/core/src/kernels/gemm/problem.ts';
import type { Capabilities } from '../../packages/core/src/plan/capabilities.ts';
import type { KernelTuning } from '../../packages/core/src/kernels/tuning.ts';

/**
 * What `--rules` takes: JSON that replaces choices of the kernels' rules in whole graphs, to see what a change is worth.
 * Each product is matched with the entries in order; the first that fits counts.
 */
interface Rules {
  gemm?: GemmRule[];
  /** In place of every attention with heads of at least `from` and at most `to`. */
  attention?: { from: number; to: number; choice: AttentionChoice }[];
  /** Copies every concatenation. */
  copiesPairs?: boolean;
  /** Whether convolutions leave moments for the norms after them, whatever their size. */
  producedMoments?: boolean;
}

interface GemmRule {
  /** What the rules chose: `matrix`, `fma`, `winograd`. */
  kind?: string;
  /** Rows and columns of its tile, `64x160`. */
  tile?: string;
  /** Smallest and largest numbers of rows, columns and depth. */
  rows?: [number, number];
  columns?: [number, number];
  depth?: [number, number];
  conv?: boolean;
  /** Instead: arguments of `matrixTile`, or the name of a tile of f32 arithmetic. */
  matrix?: Parameters<typeof matrixTile>;
  fma?: FmaTileName;
  /** `matrix` are pieces of an image with their halo, for convolutions that have one. */
  halo?: boolean;
  /** One product of f32 arithmetic in place of Winograd's 16. */
  direct?: boolean;
  slices?: number;
}

export function tuningOf(json: string, capabilities: Capabilities): KernelTuning {
  const { gemm = [], attention = [], copiesPairs = false, producedMoments } = JSON.parse(json) as Rules;
  return {
    copiesPairs,
    ...(producedMoments !== undefined && { producedMoments }),
    gemm(problem, choice) {
      const rule = gemm.find((each) => fits(each, problem, choice));
      return rule ? replaced(rule, problem, choice, capabilities) : choice;
    },
    attention({ headSize }, choice) {
      return attention.find(({ from, to }) => headSize >= from && headSize <= to)?.choice ?? choice;
    },
  };
}

function fits(rule: GemmRule, problem: GemmProblem, choice: GemmChoice): boolean {
  const within = ([least, most]: [number, number] = [0, Infinity], value: number): boolean =>
    value >= least && value <= most;
  const tile = 'tile' in choice && 'tileRows' in choice.tile ? choice.tile : undefined;
  return (
    (rule.kind === undefined || rule.kind === choice.kind) &&
    (rule.tile === undefined || (tile && rule.tile === `${tile.tileRows}x${tile.tileColumns}`) === true) &&
    (rule.conv === undefined || rule.conv === (problem.a.kind === 'convolution')) &&
    within(rule.rows, problem.rows) &&
    within(rule.columns, problem.columns) &&
    within(rule.depth, problem.depth)
  );
}

function replaced(
  rule: GemmRule,
  problem: GemmProblem,
  choice: GemmChoice,
  capabilities: Capabilities,
): GemmChoice {
  if (rule.direct) return { kind: 'fma', ...chooseFma(problem, capabilities) };
  const slices = problem.gate ? 1 : (rule.slices ?? ('slices' in choice ? choice.slices : 1));
  if (rule.fma) return { kind: 'fma', tile: fmaTiles[rule.fma], slices };
  if (rule.matrix) {
    const tile = { ...matrixTile(...rule.matrix), ...(rule.halo && { halo: true }) };
    return { kind: 'matrix', tile, slices };
  }
  return choice.kind === 'matrix' ? { ...choice, slices } : choice;
}
