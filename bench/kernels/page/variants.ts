import type { Capabilities, Precision } from '../../../packages/core/src/plan/capabilities.ts';
import { matrixAttentionBytes } from '../../../packages/core/src/kernels/attention/matrix.ts';
import type { AttentionChoice } from '../../../packages/core/src/kernels/attention/choose.ts';
import {
  haloTile,
  hasMatrices,
  matrixTile,
  matrixTiles,
} from '../../../packages/core/src/kernels/gemm/choose-matrix.ts';
import { fmaTiles } from '../../../packages/core/src/kernels/gemm/choose-fma.ts';
import type { FmaTile } from '../../../packages/core/src/kernels/gemm/fma.ts';
import { type GemmChoice } from '../../../packages/core/src/kernels/gemm/choose.ts';
import type { MatrixTile } from '../../../packages/core/src/kernels/gemm/matrix-layout.ts';
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
  pattern: string | undefined,
): Variant[] {
  const rule: Variant = { name: 'rule', tuning: {} };
  if (pattern === undefined) return [rule];
  const others =
    item.kind === 'attention'
      ? attentionVariants(capabilities, precision, item.size)
      : item.kind === 'group-norm'
        ? []
        : gemmVariants(capabilities, precision, item);
  return [rule, ...others.filter(({ name }) => new RegExp(pattern).test(name))];
}

type ProductCase = Extract<KernelCase, { kind: 'gemm' | 'conv' }>;

function sizesOf(item: ProductCase): { rows: number; columns: number; depth: number } {
  if (item.kind === 'gemm') return { ...item, columns: item.columns * (item.gated ? 2 : 1) };
  const { height, width, channels, outputs, kernel = 3, stride = 1, upsample = 1, batch = 1 } = item;
  const scale = upsample / stride;
  return { rows: batch * height * width * scale ** 2, columns: outputs, depth: channels * kernel ** 2 };
}

/** Tiles that lost, or that the rules do not know yet. */
const otherTiles: Record<string, MatrixTile> = {
  '64x160x32': matrixTile(64, 160, 32, 32, 80, 'kn'),
  '64x128x32': matrixTile(64, 128, 32, 32, 64, 'kn'),
  '64x64x32': matrixTile(64, 64, 32, 32, 32, 'kn'),
  '128x64x32': matrixTile(128, 64, 32, 64, 32, 'kn'),
  '128x64x64': matrixTile(128, 64, 64, 64, 32, 'nk'),
  '128x160x64-8': matrixTile(128, 160, 64, 32, 80, 'nk'),
  '128x128x64-8': matrixTile(128, 128, 64, 32, 64, 'nk'),
  '128x128x32-8': matrixTile(128, 128, 32, 32, 64, 'kn'),
  '32x64x64': matrixTile(32, 64, 64, 16, 32, 'nk'),
  '64x160x64-4': matrixTile(64, 160, 64, 32, 80, 'nk'),
  '64x128x64-4': matrixTile(64, 128, 64, 32, 64, 'nk'),
  '64x64x64-4': matrixTile(64, 64, 64, 32, 32, 'nk'),
  'halo-256x80x16-4': haloTile(256, 80, 16, 64, 80),
  'halo-256x80x32-4': haloTile(256, 80, 32, 64, 80),
  'halo-256x80x16-8': haloTile(256, 80, 16, 32, 80),
  'halo-256x64x32-4': haloTile(256, 64, 32, 64, 64),
  'halo-128x80x32-4': haloTile(128, 80, 32, 32, 80),
  'halo-128x160x16-4': haloTile(128, 160, 16, 64, 80),
  'halo-128x160x32-4': haloTile(128, 160, 32, 64, 80),
  'halo-128x128x16-8': haloTile(128, 128, 16, 32, 64),
  'halo-128x256x16-8': haloTile(128, 256, 16, 64, 64),
  'halo-64x160x32-4': haloTile(64, 160, 32, 32, 80),
};

function gemmVariants(capabilities: Capabilities, precision: Precision, item: ProductCase): Variant[] {
  const choices: [string, GemmChoice][] = [];
  const { rows, columns, depth } = sizesOf(item);
  /** Splits that leave real work to each of not many more workgroups than a large GPU holds. */
  const splits = ({ tileRows, tileColumns, tileDepth }: FmaTile | MatrixTile, list: number[]): number[] => {
    const tiles = Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns);
    return list.filter((slices) =>
      slices === 1
        ? tiles >= 30
        : tiles * slices <= 280 && tiles * slices >= 60 && depth / slices >= 2 * tileDepth,
    );
  };
  if (hasMatrices(capabilities, precision)) {
    for (const [name, tile] of Object.entries({ ...matrixTiles, ...otherTiles })) {
      if (tile.halo && !hasHalo(item)) continue;
      for (const slices of splits(tile, [1, 2, 3, 4, 6, 8, 12]))
        choices.push([`${name}/${slices}`, { kind: 'matrix', tile, slices }]);
    }
  } else {
    for (const [name, tile] of Object.entries(fmaTiles)) {
      for (const slices of splits(tile, [1, 2, 4, 8]))
        choices.push([`${name}/${slices}`, { kind: 'fma', tile, slices }]);
      if (!isWinograd(item)) continue;
      const patches = Math.ceil(rows / 4 / tile.tileRows) * Math.ceil(columns / tile.tileColumns) * 16;
      for (const slices of [1, 2, 4].filter((count) => count === 1 || patches * count <= 600))
        choices.push([`winograd ${name}/${slices}`, { kind: 'winograd', tile, slices }]);
    }
  }
  return choices.map(([name, choice]) => ({
    name,
    tuning: {
      gemm: (problem) => (problem.gate && 'slices' in choice ? { ...choice, slices: 1 } : choice),
    },
  }));
}

function hasHalo(item: ProductCase): boolean {
  return (
    item.kind === 'conv' && (item.kernel ?? 3) === 3 && (item.stride ?? 1) === 1 && item.channels % 32 === 0
  );
}

function isWinograd(item: ProductCase): boolean {
  if (item.kind === 'gemm' || item.weights) return false;
  const { kernel = 3, stride = 1, upsample = 1, channels } = item;
  return kernel === 3 && stride === 1 && upsample === 1 && channels % 4 === 0;
}

function attentionVariants(capabilities: Capabilities, precision: Precision, size: number): Variant[] {
  const choices: [string, AttentionChoice][] = [];
  if (hasMatrices(capabilities, precision) && size <= 160) {
    for (const subgroups of [1, 2, 4, 6, 8, 12, 16]) {
      for (const tileKeys of [16, 32]) {
        for (const buffers of [1, 2] as const) {
          const shape = { subgroups, tileKeys, buffers };
          if (matrixAttentionBytes({ headSize: size, valueSize: size }, shape) > 49152) continue;
          choices.push([`matrix ${subgroups}x${tileKeys}x${buffers}`, { kind: 'matrix', shape }]);
        }
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
  if (size > 160) {
    for (const tileKeys of [32, 64]) {
      const columnLanes = Math.min(64, Math.ceil(size / 8));
      choices.push([`wide ${columnLanes}x${tileKeys}`, { kind: 'wide', shape: { columnLanes, tileKeys } }]);
    }
    if (hasMatrices(capabilities, precision)) {
      for (const tileKeys of [16, 32]) {
        const shape = { slices: Math.max(4, Math.ceil(size / 64)), rows: 32, tileKeys };
        choices.push([`wide matrix ${shape.slices}x${tileKeys}`, { kind: 'wide-matrix', shape }]);
      }
    }
  }
  return choices.map(([name, choice]) => ({ name, tuning: { attention: () => choice } }));
}
