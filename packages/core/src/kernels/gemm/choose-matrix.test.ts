import { expect, test } from 'vitest';
import type { Capabilities } from '../../plan/capabilities.ts';
import { chooseMatrixTile } from './choose-matrix.ts';
import type { GemmProblem } from './problem.ts';

const limits = { maxComputeInvocationsPerWorkgroup: 1024, maxStorageBufferBindingSize: 2 ** 31 };
const capabilities = { limits } as Capabilities;

function choice(rows: number, columns: number, depth: number): string {
  const problem = { rows, columns, depth, batch: [], output: {} } as unknown as GemmProblem;
  const { tile, slices } = chooseMatrixTile(problem, capabilities);
  return `${tile.tileRows}x${tile.tileColumns}/${slices}`;
}

// Tile and split that were fastest on an H200 of all that were tried.
test.each([
  ['4096^3', [4096, 4096, 4096], '128x256/1'],
  ['Flux projection', [4608, 3072, 3072], '128x128/1'],
  ['SDXL feed-forward in', [1024, 10240, 1280], '128x160/1'],
  ['SDXL feed-forward out', [1024, 1280, 5120], '64x160/1'],
  ['SDXL projection', [1024, 1280, 1280], '64x160/1'],
  ['SDXL projection at 64x64', [4096, 640, 640], '128x160/1'],
  ['SD 1.5 projection', [4096, 320, 320], '64x160/1'],
  ['SD 1.5 projection at 16x16', [256, 1280, 1280], '64x64/1'],
  ['3x3 of 320 channels at 64x64', [4096, 320, 2880], '64x160/1'],
  ['3x3 of 640 channels at 32x32', [1024, 640, 5760], '64x160/2'],
  ['3x3 of 1280 channels at 16x16', [256, 1280, 11520], '64x160/4'],
  ['3x3 of 512 channels at 256x256', [65536, 512, 4608], '128x256/1'],
  ['3x3 of 128 channels at 512x512', [262144, 128, 1152], '128x128/1'],
] as const)('the measured best for %s', (_, [rows, columns, depth], best) => {
  expect(choice(rows, columns, depth)).toBe(best);
});
