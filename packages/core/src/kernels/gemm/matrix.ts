import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { emulatedMatrices, nativeMatrices } from '../subgroup-matrix.ts';
import { matrixLayout, type MatrixTile } from './matrix-layout.ts';
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
import { aHalves, bHalves } from './sources.ts';

/**
 * Product on subgroup matrices: f16 operands, f32 sums. A workgroup makes one tile of the result; each of its subgroups
 * of 32 makes `subgroupRows` × `subgroupColumns` of it from 16x16 matrices. What decides the speed (measured on an
 * H200): no bounds checks on matrix loads (nested arrays, see `MatrixDialect`), at most 24 KB of workgroup memory with
 * 128 threads so that two workgroups fit a multiprocessor (hence the results leave through the memory of the operands'
 * tiles), rows padded by 16 bytes against bank conflicts, and the next tile on its way to registers meanwhile.
 *
 * @param emulated plain WGSL in place of subgroup matrices, for tests
 */
export function matrixKernel(
  problem: GemmProblem,
  b: PreparedB,
  tile: MatrixTile,
  partial: PartialSums | undefined,
  emulated = false,
): DispatchSpec {
  const matrices = emulated ? emulatedMatrices() : nativeMatrices;
  const { tileRows, tileColumns, tileDepth, subgroupRows, subgroupColumns } = tile;
  const layout = matrixLayout(tile, b.layout);
  const { threads, pitchA, pitchB, places } = layout;
  const alongDepth = b.layout === 'nk';
  const depthGroups = tileDepth / 8;
  const a = aHalves(problem, tileDepth, !emulated);
  const bCode = bHalves(problem, b, tileDepth, !emulated);
  const gate = gateCode(problem.gate);
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);

  const slotsA = slots((tileRows * tileDepth) / 8, threads);
  const slotsB = slots((tileColumns * tileDepth) / 8, threads);
  const innerB = alongDepth ? depthGroups : tileColumns / 8;
  const { tileA, tileB, firstB } = layout;

  const fetch = (k0: string): string => `if (${k0} < end) {
      let step = a_step(${k0});
      ${slotsA.map(({ guard }, i) => `${guard}{ va${i} = a_fetch8(ra${i}, step, ka${i} * 8u); }`).join('\n      ')}
      ${slotsB
        .map(
          ({ guard }, i) =>
            `${guard}{ vb${i} = ${alongDepth ? `b_fetch8(batch, ${k0} + ib${i} * 8u, nb${i})` : `b_fetch8(batch, ${k0} + ob${i}, nb${i})`}; }`,
        )
        .join('\n      ')}
    }`;
  const put = [
    ...slotsA.map(
      ({ guard }, i) =>
        `${guard}{ ${tileA}[ma${i} / 16u][(ma${i} % 16u) * ${pitchA}u + ka${i}] = a_unpack8(ra${i}, va${i}); }`,
    ),
    ...slotsB.map(({ guard }, i) =>
      alongDepth
        ? `${guard}{ ${tileB}[${firstB}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i}] = b_unpack8(vb${i}); }`
        : `${guard}{ ${tileB}[ib${i} / ${subgroupColumns / 8}u * ${tileDepth / 16}u + ob${i} / 16u][(ob${i} % 16u) * ${pitchB}u + ib${i} % ${subgroupColumns / 8}u] = b_unpack8(vb${i}); }`,
    ),
  ].join('\n    ');
  const left = range(subgroupRows / 16);
  const right = range(subgroupColumns / 16);
  const multiply = range(tileDepth / 16)
    .map((k) =>
      [
        '{',
        ...left.map((i) =>
          matrices.left(`a${i}`, tileA, `sm * ${subgroupRows / 16}u + ${i}u`, k * 2, pitchA),
        ),
        ...right.flatMap((j) => {
          const load = alongDepth
            ? matrices.right(
                `b${j}`,
                tileB,
                `${firstB}u + sn * ${subgroupColumns / 16}u + ${j}u`,
                k * 2,
                pitchB,
                'by column',
              )
            : matrices.right(`b${j}`, tileB, `sn * ${tileDepth / 16}u + ${k}u`, j * 2, pitchB, 'by depth');
          return [load, ...left.map((i) => matrices.multiply(`c${i}_${j}`, `a${i}`, `b${j}`))];
        }),
        '}',
      ].join('\n      '),
    )
    .join('\n    ');

  // Results leave through the memory of the operands as floats, as many matrices at a time as it holds. Of each a lane
  // takes half a row.
  const matrixNames = left.flatMap((i) => right.map((j) => ({ i, j })));
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
      const m = `m0 + sm * ${subgroupRows}u + ${i * 16}u + row`;
      const n = `n0 + sn * ${subgroupColumns}u + ${j * 16}u + half * 8u`;
      return problem.gate
        ? [{ m, n: `(${n}) / 2u`, values: [x!, y!] }]
        : [
            { m, n, values: [x!] },
            { m, n: `${n} + 4u`, values: [y!] },
          ];
    }),
  )}`,
    )
    .join('\n  ');
  const tilesM = Math.ceil(problem.rows / tileRows);
  const tilesN = Math.ceil(multipliedColumns(problem) / tileColumns);
  const slices = partial?.slices ?? 1;
  const tiles = tilesM * tilesN;

  const body = `
${layout.declarations.map(({ name, inner, blocks }) => matrices.declare(name, inner, blocks)).join('\n')}
${storeCode(problem, partial)}
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
  ${slotsA
    .map(
      (_, i) => `let ia${i} = ${i * threads}u + lane;
  let ma${i} = ${spread(`(ia${i} / ${depthGroups}u)`, depthGroups)};
  let ka${i} = ia${i} % ${depthGroups}u;
  let ra${i} = a_row(batch, min(m0 + ma${i}, params.rows - 1u));
  var va${i} = APiece8();`,
    )
    .join('\n  ')}
  ${slotsB
    .map(
      (
        _,
        i,
      ) => `let ob${i} = ${alongDepth ? spread(`((${i * threads}u + lane) / ${innerB}u)`, depthGroups) : `(${i * threads}u + lane) / ${innerB}u`};
  let ib${i} = (${i * threads}u + lane) % ${innerB}u;
  let nb${i} = ${alongDepth ? `min(n0 + ob${i}, params.b_columns - 1u)` : `min(n0 + ib${i} * 8u, (params.b_columns - 1u) / 8u * 8u)`};
  var vb${i} = BPiece8();`,
    )
    .join('\n  ')}
  ${left.map((i) => right.map((j) => matrices.accumulator(`c${i}_${j}`)).join(' ')).join('\n  ')}
  let start = slice * params.slice_depth;
  let end = min(params.depth, start + params.slice_depth);
  ${fetch('start')}
  for (var k0 = start; k0 < end; k0 += ${tileDepth}u) {
    workgroupBarrier();
    ${put}
    workgroupBarrier();
    ${fetch(`(k0 + ${tileDepth}u)`)}
    ${multiply}
  }
  let row = lane_id / 2u;
  let half = lane_id % 2u;
  ${leave}
}`;
  const workgroups = tiles * slices * batchSize(problem);
  const sliceDepth = Math.ceil(Math.ceil(problem.depth / tileDepth) / slices) * tileDepth;
  return {
    name: `${problem.name}_matrix_${tileRows}x${tileColumns}x${tileDepth}_${b.layout}${problem.gate ? '_gated' : ''}${integerSuffix(b)}${partial ? '_partial' : ''}`,
    directives: matrices.directives,
    raw: [...(a.raw ?? []), ...(bCode.raw ?? [])],
    inputs: { ...a.inputs, ...bCode.inputs, ...gate.inputs, ...epilogue?.inputs },
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
      ...bCode.params,
      ...gate.params,
      ...epilogue?.params,
    },
    functions: [
      emulated
        ? 'fn pack_halves(v: vec4f) -> vec2<u32> { return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)); }'
        : 'fn pack_halves(v: vec4f) -> vec2<u32> { return bitcast<vec2<u32>>(vec4<f16>(v)); }',
      a.functions,
      bCode.functions,
      gate.functions,
      epilogue?.functions ?? '',
    ].join('\n'),
    body,
    workgroups,
    work: { flops: gemmFlops(problem) },
  };
}

/**
 * Which row of a tile a thread copies. With four groups to a row, eight neighbouring threads (one bank cycle of 16-byte
 * stores) take rows r and r + 4, whose padded pitches fall on different banks.
 */
function spread(row: string, groups: number): string {
  return groups === 4 ? `((${row} & ~7u) | ((${row} & 7u) >> 1u) | ((${row} & 1u) << 2u))` : row;
}

/** Copies of 16 bytes by each thread; the last may be for some threads only. */
function slots(total: number, threads: number): { guard: string }[] {
  return range(Math.ceil(total / threads)).map((i) => ({
    guard: (i + 1) * threads > total ? `if (${i * threads}u + lane < ${total}u) ` : '',
  }));
}
