import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import type { ProducedMoments } from '../group-norm/produced.ts';
import { emulatedMatrices, nativeMatrices } from '../subgroup-matrix.ts';
import { haloLoop } from './halo.ts';
import type { MatrixChoice } from './matrix-layout.ts';
import { tileLoop } from './matrix-loop.ts';
import { momentsCode } from './moments.ts';
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

/**
 * Product on subgroup matrices: f16 operands, f32 sums. A workgroup makes one tile of the result; each of its subgroups
 * of 32 makes `subgroupRows` × `subgroupColumns` of it from 16x16 matrices. What decides the speed (measured on an
 * H200): no bounds checks on matrix loads (nested arrays, see `MatrixDialect`), at most 24 KB of workgroup memory with
 * 128 threads so that two workgroups fit a multiprocessor (hence the results leave through the memory of the operands'
 * tiles), rows padded by 16 bytes against bank conflicts, and the next tile on its way to registers meanwhile.
 *
 * @param produced where to leave moments of the result, which is not split then
 */
export function matrixKernel(
  problem: GemmProblem,
  b: PreparedB,
  { tile, emulated = false }: MatrixChoice,
  partial: PartialSums | undefined,
  produced?: ProducedMoments,
): DispatchSpec {
  const matrices = emulated ? emulatedMatrices() : nativeMatrices;
  const { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns } = tile;
  const slices = partial?.slices ?? 1;
  const { suffix, layout, sources, tilesM, depth, sliceDepth, start, loop, row } = (
    tile.halo ? haloLoop : tileLoop
  )(problem, b, tile, slices, matrices, !emulated);
  const { threads, places } = layout;
  const gate = gateCode(problem.gate);
  const moments = produced && momentsCode(problem, produced, tile, matrices);
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);
  const down = range(subgroupRows / 16);
  const across = range(subgroupColumns / 16);

  // Results leave through the memory of the operands as floats, as many matrices at a time as it holds. Of each a lane
  // takes half a row.
  const matrixNames = down.flatMap((i) => across.map((j) => ({ i, j })));
  const rounds = range(Math.ceil(matrixNames.length / places.length)).map((round) =>
    matrixNames.slice(round * places.length, (round + 1) * places.length),
  );
  const leave = rounds
    .map(
      (names) => `workgroupBarrier();
  ${names
    .map(({ i, j }, k) => {
      const { tile, block, offset, pitch } = places[k]!;
      return matrices.store(`c${i}_${j}`, tile, block, offset, pitch);
    })
    .join('\n  ')}
  workgroupBarrier();
  ${storeTogether(
    problem,
    names.flatMap(({ i, j }, k): Results[] => {
      const { tile, block, offset, pitch } = places[k]!;
      const [x, y] = [0, 1].map(
        (part) => `bitcast<vec4f>(${tile}[${block}][row * ${pitch}u + ${offset + part}u + half * 2u])`,
      );
      const m = row(i);
      const n = `n0 + sn * ${subgroupColumns}u + ${j * 16}u + half * 8u`;
      return problem.gate
        ? [{ m, n: `(${n}) / 2u`, values: [x!, y!] }]
        : [
            { m, n, values: [x!], ...(moments && { also: (v) => moments.add(i, j, 0, v) }) },
            { m, n: `${n} + 4u`, values: [y!], ...(moments && { also: (v) => moments.add(i, j, 1, v) }) },
          ];
    }),
  )}`,
    )
    .join('\n  ');
  const tilesN = Math.ceil(multipliedColumns(problem) / tileColumns);
  const tiles = tilesM * tilesN;

  const body = `
${layout.declarations.map(({ name, inner, blocks }) => matrices.declare(name, inner, blocks)).join('\n')}
${storeCode(problem, partial)}
${moments ? `${matrices.exchangeDeclaration(threads)}\n${moments.functions}` : ''}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32${matrices.entry.parameters}) {
  ${matrices.entry.start}
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  ${tileOrder(problem, tiles, slices)}
  let m0 = tile_m * ${tileRows}u;
  let n0 = tile_n * ${tileColumns}u;
  let sm = subgroup / ${tileColumns / subgroupColumns}u;
  let sn = subgroup % ${tileColumns / subgroupColumns}u;
  ${start}
  ${down.map((i) => across.map((j) => matrices.accumulator(`c${i}_${j}`)).join(' ')).join('\n  ')}
  let start = slice * params.slice_depth;
  let end = min(${depth}, start + params.slice_depth);
  ${loop}
  let row = lane_id / 2u;
  let half = lane_id % 2u;
  ${moments?.start ?? ''}
  ${leave}
  ${moments?.leave ?? ''}
}`;
  const workgroups = tiles * slices * batchSize(problem);
  return {
    name: `${problem.name}_matrix${suffix}_${tileRows}x${tileColumns}x${tileDepth}_${b.layout}${problem.gate ? '_gated' : ''}${integerSuffix(b)}${partial ? '_partial' : ''}${moments ? '_moments' : ''}`,
    directives: matrices.directives,
    raw: sources.flatMap(({ raw = [] }) => raw),
    inputs: Object.assign({}, ...[...sources, gate, epilogue].map((code) => code?.inputs)),
    outputs: { Y: partial?.view ?? problem.output.view, ...(produced && { moments: produced.view }) },
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
      ...moments?.params,
      ...Object.assign({}, ...sources.map(({ params }) => params)),
      ...gate.params,
      ...epilogue?.params,
    },
    functions: [
      emulated
        ? 'fn pack_halves(v: vec4f) -> vec2<u32> { return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)); }'
        : 'fn pack_halves(v: vec4f) -> vec2<u32> { return bitcast<vec2<u32>>(vec4<f16>(v)); }',
      ...sources.map(({ functions }) => functions),
      gate.functions,
      epilogue?.functions ?? '',
    ].join('\n'),
    body,
    workgroups,
    work: { flops: gemmFlops(problem) },
  };
}
