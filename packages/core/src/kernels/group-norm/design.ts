import { isProcessor, type Capabilities } from '../../plan/capabilities.ts';
import type { TensorView } from '../../plan/plan.ts';

/** Sizes of a GroupNorm on channels-last memory. `positions` is the product of the spatial dimensions. */
export interface GroupNormShape {
  batch: number;
  channels: number;
  positions: number;
  groups: number;
}

/** How to run it. Columns are vec4s of channels. */
export type GroupNormDesign = SingleDesign | SplitDesign | { kind: 'scalar'; threads: number };

/** Some workgroups for each bundle of groups that fills whole vec4s. */
export interface SingleDesign {
  kind: 'single';
  threads: number;
  columns: number;
  rows: number;
  /** Groups in a bundle: 1, 2 or 4. */
  bundle: number;
  /** Workgroups that each compute the statistics of a bundle and normalize a part of it. */
  shares: number;
}

/** Partial statistics of chunks of positions, then their merge and the result. */
export interface SplitDesign {
  kind: 'split';
  threads: number;
  columns: number;
  rows: number;
  tiles: number;
  /** Groups in a tile. */
  tileGroups: number;
  /** Channels that one group has in a tile. */
  tileGroupChannels: number;
  /** Tiles that one group spans. */
  parts: number;
  chunks: number;
  chunkPositions: number;
  spans: number;
  spanPositions: number;
}

/**
 * Partial statistics of a tensor's groups: f32 [batch, groups, chunks, parts, 2], the mean and the sum of squared
 * deviations from it. A chunk is `chunkPositions` positions (the last one what is left); `parts` splits a group's
 * channels evenly.
 */
export interface GroupStatistics {
  view: TensorView;
  design: SplitDesign;
}

/** A thread of the single design reads this many vec4s at most: above, too few workgroups share too much work. */
const SINGLE_ROUNDS = 32;
/** Workgroups of the single design that fill a large GPU: 132 multiprocessors of an H100. */
const SINGLE_WORKGROUPS = 128;
/** Rounds of a share that are worth a workgroup. */
const SHARE_ROUNDS = 2;
/** How the two dispatches are spread. */
interface Spread {
  threads: number;
  statisticsWorkgroups: number;
  applyWorkgroups: number;
}
/** Workgroups that keep a large GPU (132 multiprocessors of an H200) busy for some rounds. */
const ON_GPU: Spread = { threads: 256, statisticsWorkgroups: 512, applyWorkgroups: 1024 };
/** Some workgroups a core; barriers cost less among few threads. */
const ON_PROCESSOR: Spread = { threads: 64, statisticsWorkgroups: 64, applyWorkgroups: 64 };
/** Every workgroup that applies reads all partial statistics of its groups. */
const MAX_CHUNKS = 128;

const SCALAR_THREADS = 256;

type NormLimits = Pick<
  Capabilities['limits'],
  'maxComputeInvocationsPerWorkgroup' | 'maxComputeWorkgroupStorageSize'
>;
/** What the choice depends on. */
export type NormCapabilities = Pick<Capabilities, 'adapter'> & { limits: NormLimits };

/** Chooses the design. Pure. */
export function groupNormDesign(shape: GroupNormShape, capabilities: NormCapabilities): GroupNormDesign {
  const { limits } = capabilities;
  const scalar = { kind: 'scalar', threads: SCALAR_THREADS } as const;
  // Two pipelines serve all shapes of the split design; of the single one Pocket would compile thirteen, for 4 s.
  if (isProcessor(capabilities)) return splitDesign(shape, ON_PROCESSOR) ?? scalar;
  return singleDesign(shape, limits) ?? splitDesign(shape, ON_GPU) ?? scalar;
}

/** Groups that together hold whole vec4s of channels. */
function bundleOf(groupChannels: number): 1 | 2 | 4 {
  return groupChannels % 4 === 0 ? 1 : groupChannels % 2 === 0 ? 2 : 4;
}

/** Columns that workgroup memory is declared for: few sizes, so that designs share pipelines. */
export function columnMemory(columns: number): number {
  return 2 ** Math.ceil(Math.log2(columns));
}

function singleDesign(
  { batch, channels, positions, groups }: GroupNormShape,
  limits: NormLimits,
): SingleDesign | undefined {
  if (channels % 4 !== 0) return undefined;
  const bundle = bundleOf(channels / groups);
  const columns = (bundle * (channels / groups)) / 4;
  const vectors = columns * positions;
  // The sum over the workgroup takes two floats of each group for each thread and for 32 more.
  const threads = [64, 128, 256, 512, 1024].filter(
    (count) =>
      count <= limits.maxComputeInvocationsPerWorkgroup &&
      (count + 32) * 8 * bundle + 16 * columnMemory(columns) <= limits.maxComputeWorkgroupStorageSize,
  );
  const size = threads.find((count) => vectors <= 8 * count && columns <= count) ?? threads.at(-1);
  if (size === undefined || columns > size) return undefined;
  const rows = Math.floor(size / columns);
  const rounds = Math.ceil(positions / rows);
  if (rounds > SINGLE_ROUNDS) return undefined;
  const bundles = batch * (groups / bundle);
  const shares = Math.max(
    1,
    Math.min(Math.floor(SINGLE_WORKGROUPS / bundles), Math.floor(rounds / SHARE_ROUNDS)),
  );
  return { kind: 'single', threads: size, columns, rows, bundle, shares };
}

function splitDesign(
  { batch, channels, positions, groups }: GroupNormShape,
  { threads, statisticsWorkgroups, applyWorkgroups }: Spread,
): SplitDesign | undefined {
  if (channels % 4 !== 0) return undefined;
  const groupChannels = channels / groups;
  const unit = (bundleOf(groupChannels) * groupChannels) / 4;
  const columns = tileColumns(channels / 4, unit, groupChannels % 4 === 0, threads);
  if (columns === undefined) return undefined;
  const tiles = channels / 4 / columns;
  const parts = Math.max(1, groupChannels / (4 * columns));
  const rows = Math.floor(threads / columns);
  /** Positions a workgroup takes: whole rounds of four rows, as the loops are unrolled. */
  const perWorkgroup = (workgroups: number, maxChunks: number): number => {
    const wanted = Math.min(maxChunks, Math.ceil(workgroups / (tiles * batch)));
    return Math.ceil(positions / wanted / (4 * rows)) * 4 * rows;
  };
  const chunkPositions = perWorkgroup(statisticsWorkgroups, MAX_CHUNKS);
  const spanPositions = perWorkgroup(applyWorkgroups, Infinity);
  return {
    kind: 'split',
    threads,
    columns,
    rows,
    tiles,
    tileGroups: Math.max(1, (4 * columns) / groupChannels),
    tileGroupChannels: Math.min(groupChannels, 4 * columns),
    parts,
    chunks: Math.ceil(positions / chunkPositions),
    chunkPositions,
    spans: Math.ceil(positions / spanPositions),
    spanPositions,
  };
}

/**
 * Width of a tile: divides the row, holds whole groups or lies in one, keeps most of the threads busy and reads runs
 * of 16 vec4s (128 bytes of f16) where it can. The narrowest such: more tiles are more workgroups without more chunks.
 */
function tileColumns(row: number, unit: number, divisible: boolean, threads: number): number | undefined {
  let best: number | undefined;
  let bestScore = 0;
  for (let columns = 1; columns <= threads; columns++) {
    if (row % columns !== 0) continue;
    if (columns % unit !== 0 && !(divisible && unit % columns === 0)) continue;
    const busy = (Math.floor(threads / columns) * columns) / threads;
    const score = busy * Math.min(1, columns / 16);
    if (score <= bestScore) continue;
    best = columns;
    bestScore = score;
  }
  return best;
}
