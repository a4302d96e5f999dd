import type { Capabilities, Precision } from '../../../packages/core/src/plan/capabilities.ts';
import type { AttentionChoice } from '../../../packages/core/src/kernels/attention/choose.ts';
import { hasMatrices, matrixTiles } from '../../../packages/core/src/kernels/gemm/choose-matrix.ts';
import { fmaTiles } from '../../../packages/core/src/kernels/gemm/choose-fma.ts';
import { type GemmChoice } from '../../../packages/core/src/kernels/gemm/choose.ts';
import type { KernelTuning } from '../../../packages/core/src/kernels/tuning.ts';
import type { KernelCase } from '../cases.ts';

/** A way to run a case. */
export interface Variant {
  name: string;
  tuning: KernelTuning;
}

/** The simplest kernels: no workgroup memory for products, one lane a query and no subgroups for attention. */
export const referenceTuning: KernelTuning = {
  gemm: (problem, rule) =>
    problem.b.kind === 'weight'
      ? { kind: 'direct', tile: { threadRows: 4, threadColumns: 8, lanes: 4, rowLanes: 8 } }
      : rule,
  attention: (problem) => ({
    kind: 'rows',
    shape: {
      threads: 32,
      lanes: problem.headSize > 160 ? 8 : 1,
      rows: 1,
      tileKeys: 8,
      subgroups: false,
    },
  }),
};

export function variantsOf(
  capabilities: Capabilities,
  precision: Precision,
  item: KernelCase,
  all: boolean,
): Variant[] {
  const rule: Variant = { name: 'rule', tuning: {} };
  if (!all) return [rule];
  return [
    rule,
    ...(item.kind === 'attention'
      ? attentionVariants(capabilities, precision, item.size)
      : gemmVariants(capabilities, precision)),
  ];
}

function gemmVariants(capabilities: Capabilities, precision: Precision): Variant[] {
  const choices: [string, GemmChoice][] = [];
  if (hasMatrices(capabilities, precision)) {
    for (const [name, tile] of Object.entries(matrixTiles)) {
      for (const slices of [1, 4]) choices.push([`${name}/${slices}`, { kind: 'matrix', tile, slices }]);
    }
  } else {
    for (const name of ['large', 'medium', 'small'] as const) {
      for (const slices of [1, 4]) {
        choices.push([`${name}/${slices}`, { kind: 'fma', tile: fmaTiles[name], slices }]);
      }
    }
  }
  return choices.map(([name, choice]) => ({
    name,
    tuning: {
      gemm: (problem) => (problem.gate && 'slices' in choice ? { ...choice, slices: 1 } : choice),
    },
  }));
}

function attentionVariants(capabilities: Capabilities, precision: Precision, size: number): Variant[] {
  const choices: [string, AttentionChoice][] = [];
  if (hasMatrices(capabilities, precision) && size <= 160) {
    for (const subgroups of [1, 2, 4, 8, 12, 16]) {
      for (const tileKeys of [16, 32]) {
        choices.push([`matrix ${subgroups}x${tileKeys}`, { kind: 'matrix', shape: { subgroups, tileKeys } }]);
      }
    }
  } else {
    for (const [lanes, rows] of [
      [1, 1],
      [1, 2],
      [2, 2],
      [2, 4],
      [4, 2],
      [4, 4],
      [8, 2],
      [8, 4],
      [16, 2],
      [16, 4],
    ] as const) {
      if (lanes * 4 > size || (size * rows) / lanes > 160) continue;
      for (const threads of [64, 128]) {
        const shape = {
          threads,
          lanes,
          rows,
          tileKeys: size > 160 ? 16 : Math.max(16, lanes),
          subgroups: true,
        };
        choices.push([`rows ${lanes}x${rows}/${threads}`, { kind: 'rows', shape }]);
      }
    }
  }
  return choices.map(([name, choice]) => ({ name, tuning: { attention: () => choice } }));
}
