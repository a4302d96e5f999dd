import { expect, test } from 'vitest';
import type { Capabilities } from '../../plan/capabilities.ts';
import { chooseMatrixTile, matrixTiles } from './choose-matrix.ts';
import { haloLayout, matrixLayout } from './matrix-layout.ts';
import type { ConvolutionSource, DenseSource, GemmProblem } from './problem.ts';

const limits = {
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupStorageSize: 49152,
  maxStorageBufferBindingSize: 2 ** 31,
};

function choice(problem: Partial<GemmProblem>, given: Partial<typeof limits> = {}): string {
  const capabilities = { limits: { ...limits, ...given } } as Capabilities;
  const complete = { batch: [], b: { kind: 'weight' }, output: {}, ...problem } as unknown as GemmProblem;
  const { tile, slices } = chooseMatrixTile(complete, capabilities);
  const name = Object.entries(matrixTiles).find(([, each]) => each === tile)![0];
  return `${name}/${slices}`;
}

/** A 3x3 convolution of a square image. */
function conv(size: number, channels: number, columns: number): Partial<GemmProblem> {
  const axis = { input: size, output: size, kernel: 3, stride: 1, dilation: 1, pad: 1, upsample: 1 };
  const strides = [size * size * channels, 1, size * channels, channels];
  const view = { offset: 0, strides, storage: 'f16', shape: [1, channels, size, size] };
  return {
    rows: size * size,
    columns,
    depth: 9 * channels,
    a: {
      kind: 'convolution',
      view,
      channels,
      groupStride: 0,
      axes: [axis, axis],
      direction: 'forward',
    } as unknown as ConvolutionSource,
  };
}

// Tile and split that were fastest on an H100 or H200 of all that were tried.
test.each([
  ['4096^3', [4096, 4096, 4096], '128x256x32-8/1'],
  ['Flux projection', [4608, 3072, 3072], '128x128x32-4/1'],
  ['SDXL feed-forward in', [1024, 10240, 1280], '128x160x32-4/1'],
  ['SDXL feed-forward out', [1024, 1280, 5120], '64x160x64-8/1'],
  ['SDXL projection', [1024, 1280, 1280], '64x160x64-8/1'],
  ['SDXL projection at 64x64', [4096, 640, 640], '128x160x32-8/1'],
  ['SD 1.5 projection', [4096, 320, 320], '64x160x64-8/1'],
  ['SD 1.5 projection at 16x16', [256, 1280, 1280], '64x160x64-8/4'],
] as const)('the measured best for %s', (_, [rows, columns, depth], best) => {
  expect(choice({ rows, columns, depth, a: { kind: 'dense' } as DenseSource })).toBe(best);
});

test.each([
  ['320 channels at 64x64', conv(64, 320, 320), 'halo-128x80x32-8/1'],
  ['640 channels at 32x32', conv(32, 640, 640), 'halo-256x80x32-8/4'],
  ['1280 channels at 16x16', conv(16, 1280, 1280), 'halo-256x80x32-8/8'],
  ['320 channels at 128x128', conv(128, 320, 320), 'halo-256x80x32-8/1'],
  ['512 channels at 256x256', conv(256, 512, 512), 'halo-128x128x16-4/1'],
  ['128 channels at 512x512', conv(512, 128, 128), 'halo-128x128x16-4/1'],
] as const)('the measured best for a convolution of %s', (_, problem, best) => {
  expect(choice(problem)).toBe(best);
});

test('devices with less memory or threads for a workgroup get smaller ones', () => {
  expect(choice(conv(64, 320, 320), { maxComputeWorkgroupStorageSize: 32768 })).toMatch(
    /^halo-128x80|^64x160/,
  );
  expect(choice(conv(64, 320, 320), { maxComputeInvocationsPerWorkgroup: 128 })).toMatch(/-4\//);
});

test.each(Object.entries(matrixTiles))('tile %s fits its budget, with integers too', (_, tile) => {
  const axes = [{ kernel: 3 }, { kernel: 3 }];
  const [own, integers] = ([tile.layout, 'nk'] as const).map((layout) =>
    tile.halo ? haloLayout(tile, layout, axes) : matrixLayout(tile, layout),
  );
  // Four subgroups leave room for a second workgroup, where a multiprocessor has 48 KB for all.
  expect(own!.bytes).toBeLessThanOrEqual(own!.threads === 128 ? 24576 : 49152);
  expect(integers!.bytes).toBeLessThanOrEqual(49152);
});
