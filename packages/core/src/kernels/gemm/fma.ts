import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { copies } from './copies.ts';
import { fmaB } from './fma-b.ts';
import {
  gateCode,
  gemmFlops,
  integerSuffix,
  outputParams,
  storeCode,
  storeTogether,
  tileOrder,
  type PartialSums,
  type Results,
} from './output.ts';
import { batchSize, multipliedColumns, range, type GemmProblem, type PreparedB } from './problem.ts';
import { aSource, readsByElement } from './sources.ts';

/**
 * Register-tiled product in f32. A workgroup makes `tileRows` × `tileColumns` of the result from tiles of A and B in
 * workgroup memory, each of `tileDepth`; a thread makes `threadRows` × `threadColumns` of it in registers.
 */
export interface FmaTile {
  tileRows: number;
  tileColumns: number;
  tileDepth: number;
  /** Multiple of 4. */
  threadRows: number;
  /** Multiple of 4; of 8 with a gate. */
  threadColumns: number;
}

/** Groups of results whose epilogues are on their way at once: more would take registers from the tile. */
const STORED_TOGETHER = 8;

export function fmaThreads(tile: FmaTile): number {
  return (tile.tileRows / tile.threadRows) * (tile.tileColumns / tile.threadColumns);
}

/** Workgroup memory of the two tiles; rows of A are padded against bank conflicts. */
export function fmaBytes({ tileRows, tileColumns, tileDepth }: FmaTile): number {
  return 4 * tileDepth * (tileRows + 4 + tileColumns);
}

/** @param native whether WGSL's `f16` may be used */
export function fmaKernel(
  problem: GemmProblem,
  b: PreparedB,
  tile: FmaTile,
  partial: PartialSums | undefined,
  native: boolean,
): DispatchSpec {
  const { tileRows, tileColumns, tileDepth, threadRows, threadColumns } = tile;
  const threads = fmaThreads(tile);
  const lanesX = tileColumns / threadColumns;
  const lanesY = tileRows / threadRows;
  const rowGroups = range(threadRows / 4);
  const columnGroups = range(threadColumns / 4);
  const a = aSource(problem, tileDepth, native);
  const right = fmaB(problem, b, tile, threads, native);
  const gate = gateCode(problem.gate);
  const slices = partial?.slices ?? 1;
  const tilesM = Math.ceil(problem.rows / tileRows);
  const tilesN = Math.ceil(multipliedColumns(problem) / tileColumns);
  const store = storeCode(problem, partial);

  /** Column group (of four) within the tile that is the thread's `j`th; a gate wants pairs of neighbours. */
  const columnGroup = (j: number): string =>
    problem.gate ? `(x * 2u + ${(j % 2) + Math.floor(j / 2) * 2 * lanesX}u)` : `(x + ${j * lanesX}u)`;
  const rowGroup = (i: number): string => `(y + ${i * lanesY}u)`;

  const depthGroups = tileDepth / 4;
  const slotsA = copies(tileRows * depthGroups, threads);

  const rolled = readsByElement(problem);
  const fetch = [
    ...(rolled
      ? []
      : [
          'let step = a_step(k0);',
          ...slotsA.map(({ guard }, i) => `${guard}{ va${i} = a_fetch4(ra${i}, step, ka${i}); }`),
        ]),
    ...right.fetch,
  ].join('\n      ');
  const putA = (k: string, m: string, v: string): string =>
    range(4)
      .map((e) => `tile_a[${k} + ${e}u][${m} >> 2u][${m} & 3u] = ${v}[${e}];`)
      .join(' ');
  const put = [
    ...(rolled
      ? [
          `for (var i = lane; i < ${tileRows * depthGroups}u; i += ${threads}u) {
      let m = i / ${depthGroups}u;
      let k = (i % ${depthGroups}u) * 4u;
      let v = a_load4(a_row(batch, min(m0 + m, params.rows - 1u)), a_step(k0), k);
      ${putA('k', 'm', 'v')}
    }`,
        ]
      : slotsA.map(
          ({ guard }, i) => `${guard}{ let v = a_unpack4(ra${i}, va${i}); ${putA(`ka${i}`, `ma${i}`, 'v')} }`,
        )),
    ...right.put,
  ].join('\n    ');

  const results = range(threadRows).flatMap((r): Results[] => {
    const m = `m0 + ${rowGroup(r >> 2)} * 4u + ${r & 3}u`;
    return problem.gate
      ? range(columnGroups.length / 2).map((p) => ({
          m,
          n: `n0 / 2u + ${columnGroup(2 * p)} * 2u`,
          values: [`c${r}_${2 * p}`, `c${r}_${2 * p + 1}`],
        }))
      : columnGroups.map((j) => ({ m, n: `n0 + ${columnGroup(j)} * 4u`, values: [`c${r}_${j}`] }));
  });
  const leave = range(Math.ceil(results.length / STORED_TOGETHER))
    .map((k) => storeTogether(problem, results.slice(k * STORED_TOGETHER, (k + 1) * STORED_TOGETHER)))
    .join('\n  ');

  const body = `
const TILE_DEPTH = ${tileDepth}u;
var<workgroup> tile_a: array<array<vec4f, ${tileRows / 4 + 1}>, ${tileDepth}>;
var<workgroup> tile_b: array<array<vec4f, ${tileColumns / 4}>, ${tileDepth}>;
${store}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  ${tileOrder(problem, tilesM * tilesN, slices)}
  let m0 = tile_m * ${tileRows}u;
  let n0 = tile_n * ${tileColumns}u;
  let x = lane % ${lanesX}u;
  let y = lane / ${lanesX}u;
  ${(rolled ? [] : slotsA)
    .map(
      (_, i) => `let ia${i} = ${i * threads}u + lane;
  let ma${i} = ia${i} / ${depthGroups}u;
  let ka${i} = (ia${i} % ${depthGroups}u) * 4u;
  let ra${i} = a_row(batch, min(m0 + ma${i}, params.rows - 1u));
  var va${i} = APiece4();`,
    )
    .join('\n  ')}
  ${right.start}
  ${range(threadRows)
    .map((r) => columnGroups.map((c) => `var c${r}_${c} = vec4f();`).join(' '))
    .join('\n  ')}
  // Each round fetches the next tile into registers, multiplies the last one meanwhile, then exchanges them.
  let start = slice * params.slice_depth;
  let end = min(params.depth, start + params.slice_depth);
  var k0 = start;
  loop {
    if (k0 < end) {
      ${fetch}
    }
    if (k0 > start) {
      for (var k = 0u; k < TILE_DEPTH; k++) {
        ${rowGroups.map((i) => `let a${i} = tile_a[k][${rowGroup(i)}];`).join(' ')}
        ${columnGroups.map((j) => `let b${j} = tile_b[k][${columnGroup(j)}];`).join(' ')}
        ${range(threadRows)
          .map((r) =>
            columnGroups
              .map((j) => `c${r}_${j} = fma(vec4f(a${r >> 2}[${r & 3}]), b${j}, c${r}_${j});`)
              .join(' '),
          )
          .join('\n        ')}
      }
    }
    if (k0 >= end) { break; }
    workgroupBarrier();
    ${put}
    workgroupBarrier();
    k0 += TILE_DEPTH;
  }
  ${leave}
}`;
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);
  const tiles = tilesM * tilesN;
  const workgroups = tiles * slices * batchSize(problem);
  const sliceDepth = Math.ceil(Math.ceil(problem.depth / tileDepth) / slices) * tileDepth;
  return {
    name: `${problem.name}_fma_${tileRows}x${tileColumns}x${tileDepth}${problem.gate ? '_gated' : ''}${integerSuffix(b)}${partial ? '_partial' : ''}`,
    raw: right.code.raw ?? [],
    inputs: { ...a.inputs, ...right.code.inputs, ...gate.inputs, ...epilogue?.inputs },
    outputs: { Y: partial?.view ?? problem.output.view },
    params: {
      rows: u32(problem.rows),
      columns: u32(problem.columns),
      tiles: u32(tiles),
      tiles_m: u32(tilesM),
      tiles_n: u32(tilesN),
      slices: u32(slices),
      slice_depth: u32(sliceDepth),
      workgroups: u32(workgroups),
      ...outputParams(problem, partial),
      ...a.params,
      ...right.code.params,
      ...gate.params,
      ...epilogue?.params,
    },
    functions: [a.functions, right.code.functions, gate.functions, epilogue?.functions ?? ''].join('\n'),
    body,
    workgroups,
    work: { flops: gemmFlops(problem) },
  };
}
