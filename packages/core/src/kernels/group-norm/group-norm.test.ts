import { describe, expect, test } from 'vitest';
import { groupNormDesign, type NormCapabilities } from './design.ts';

const capabilities = (threads: number, bytes: number, adapter = 'test'): NormCapabilities => ({
  adapter,
  limits: { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes },
});
const gpu = capabilities(1024, 49152);
const minimal = capabilities(256, 16384);
const processor = capabilities(256, 16384, 'swiftshader');

describe('groupNormDesign', () => {
  test('shares a group of a UNet level among workgroups that fill the GPU', () => {
    expect(groupNormDesign({ batch: 2, channels: 1280, positions: 256, groups: 32 }, minimal)).toEqual({
      kind: 'single', threads: 256, columns: 10, rows: 25, bundle: 1, shares: 2,
    }); // prettier-ignore
    expect(groupNormDesign({ batch: 2, channels: 320, positions: 1024, groups: 32 }, gpu)).toEqual({
      kind: 'single', threads: 1024, columns: 5, rows: 204, bundle: 2, shares: 3,
    }); // prettier-ignore
  });

  test('splits large groups over the GPU in whole groups', () => {
    expect(groupNormDesign({ batch: 1, channels: 512, positions: 65536, groups: 32 }, gpu)).toMatchObject({
      kind: 'split', columns: 16, rows: 16, tiles: 8, tileGroups: 4, tileGroupChannels: 16, parts: 1, chunks: 64,
    }); // prettier-ignore
    expect(groupNormDesign({ batch: 1, channels: 320, positions: 16384, groups: 32 }, minimal)).toMatchObject({
      kind: 'split', columns: 20, rows: 12, tiles: 4, tileGroups: 8, tileGroupChannels: 10, parts: 1,
    }); // prettier-ignore
  });

  test('spreads one wide group over several tiles', () => {
    expect(groupNormDesign({ batch: 1, channels: 2560, positions: 4096, groups: 1 }, gpu)).toMatchObject({
      kind: 'split', columns: 16, tiles: 40, tileGroups: 1, tileGroupChannels: 64, parts: 40,
    }); // prettier-ignore
  });

  test('reads single elements where rows are no whole vec4s', () => {
    expect(groupNormDesign({ batch: 1, channels: 6, positions: 9, groups: 3 }, gpu).kind).toBe('scalar');
  });

  test('splits on processors, whose few workgroups share one pipeline', () => {
    expect(groupNormDesign({ batch: 2, channels: 320, positions: 1024, groups: 32 }, processor)).toMatchObject({
      kind: 'split', threads: 64, columns: 20, tiles: 4, chunks: 8, spans: 8,
    }); // prettier-ignore
  });

  const sizes = [1, 2, 3, 4, 5, 6, 10, 12, 20, 30, 60, 257, 1028];
  test.each(sizes.flatMap((size) => [minimal, processor].map((on) => [size, on] as const)))(
    'covers every channel once with %i channels a group on %o',
    (groupChannels, on) => {
      for (const groups of [1, 4, 32]) {
        const channels = groups * groupChannels;
        const design = groupNormDesign({ batch: 1, channels, positions: 40_000, groups }, on);
        if (design.kind !== 'split') continue;
        expect(design.columns * design.tiles * 4).toBe(channels);
        expect(design.tileGroups * design.tileGroupChannels).toBe(4 * design.columns);
        expect(design.tileGroupChannels * design.parts).toBe(groupChannels);
        expect(design.rows).toBeGreaterThan(0);
        expect(design.chunks * design.chunkPositions).toBeGreaterThanOrEqual(40_000);
      }
    },
  );
});
