import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import {
  gateCode,
  gemmFlops,
  integerSuffix,
  outputParams,
  storeCode,
  tileOrder,
  type PartialSums,
} from './output.ts';
import { batchSize, multipliedColumns, range, type GemmProblem, type PreparedB } from './problem.ts';
import { aSource, bSource } from './sources.ts';

/**
 * Product without workgroup memory: every thread reads what it needs. For adapters that run on a CPU, whose caches do
 * that work and for which barriers are dear; there each read costs as much as four multiplications, so threads hold
 * large tiles.
 */
export interface DirectTile {
  threadRows: number;
  /** Multiple of 4; of 8 with a gate. */
  threadColumns: number;
  /** Threads side by side along columns and along rows. */
  lanes: number;
  rowLanes: number;
}

export function directKernel(
  problem: GemmProblem,
  b: PreparedB,
  { threadRows, threadColumns, lanes, rowLanes }: DirectTile,
  partial: PartialSums | undefined,
  native: boolean,
): DispatchSpec {
  const a = aSource(problem, 4, native);
  const bCode = bSource(problem, b, 4, native);
  const gate = gateCode(problem.gate);
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);
  const rows = range(threadRows);
  const groups = range(threadColumns / 4);
  const tilesM = Math.ceil(problem.rows / (threadRows * rowLanes));
  const tilesN = Math.ceil(multipliedColumns(problem) / (threadColumns * lanes));
  const tiles = tilesM * tilesN;
  const workgroups = tiles * batchSize(problem);
  // A gate wants pairs of neighbours in one thread.
  const group = (j: number): string =>
    problem.gate ? `(x * ${groups.length}u + ${j}u)` : `(x + ${j * lanes}u)`;
  // Rows of B give four columns of one depth, columns of B four depths of one column.
  const multiply = range(4)
    .map((e) =>
      b.layout === 'kn'
        ? `{
      ${groups.map((j) => `let b${j} = b_unpack4(b_fetch4(batch, k + ${e}u, s${j}));`).join(' ')}
      ${rows.map((r) => groups.map((j) => `c${r}_${j} += a${r}[${e}] * b${j};`).join(' ')).join('\n      ')}
    }`
        : `{
      ${groups.map((j) => `let b${j} = b_unpack4(b_fetch4(batch, k, s${j} + ${e}u));`).join(' ')}
      ${rows.map((r) => groups.map((j) => `c${r}_${j}[${e}] += dot(a${r}, b${j});`).join(' ')).join('\n      ')}
    }`,
    )
    .join('\n    ');
  const body = `
${storeCode(problem, partial)}
@compute @workgroup_size(${lanes * rowLanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  ${tileOrder(problem, tiles, 1)}
  let x = lane % ${lanes}u;
  let m0 = (tile_m * ${rowLanes}u + lane / ${lanes}u) * ${threadRows}u;
  let n0 = tile_n * ${threadColumns * lanes}u;
  ${rows.map((r) => `let r${r} = a_row(batch, min(m0 + ${r}u, params.rows - 1u));`).join('\n  ')}
  // Columns beyond the last are read again and not stored.
  ${groups.map((j) => `let s${j} = min(n0 + ${group(j)} * 4u, (params.b_columns - 1u) / 4u * 4u);`).join('\n  ')}
  ${rows.map((r) => groups.map((j) => `var c${r}_${j} = vec4f();`).join(' ')).join('\n  ')}
  for (var k = 0u; k < params.depth; k += 4u) {
    let step = a_step(k);
    ${rows.map((r) => `let a${r} = a_load4(r${r}, step, 0u);`).join('\n    ')}
    ${multiply}
  }
  // In a loop, so that the epilogue is compiled once.
  var results = array<vec4f, ${threadRows * groups.length}>(${rows.flatMap((r) => groups.map((j) => `c${r}_${j}`)).join(', ')});
  for (var r = 0u; r < ${threadRows}u; r++) {
    ${
      problem.gate
        ? `for (var p = 0u; p < ${groups.length / 2}u; p++) {
      let at = r * ${groups.length}u + p * 2u;
      put_gated(0u, batch, m0 + r, n0 / 2u + (x * ${groups.length / 2}u + p) * 4u, results[at], results[at + 1u]);
    }`
        : `for (var j = 0u; j < ${groups.length}u; j++) {
      put(0u, batch, m0 + r, n0 + (x + j * ${lanes}u) * 4u, results[r * ${groups.length}u + j]);
    }`
    }
  }
}`;
  return {
    name: `${problem.name}_direct_${threadRows}x${threadColumns}${problem.gate ? '_gated' : ''}${b.layout === 'nk' ? '_nk' : ''}${integerSuffix(b)}${partial ? '_partial' : ''}`,
    inputs: { ...a.inputs, ...bCode.inputs, ...gate.inputs, ...epilogue?.inputs },
    outputs: { Y: partial?.view ?? problem.output.view },
    params: {
      rows: u32(problem.rows),
      columns: u32(problem.columns),
      tiles: u32(tiles),
      tiles_m: u32(tilesM),
      tiles_n: u32(tilesN),
      workgroups: u32(workgroups),
      ...outputParams(problem, partial),
      ...a.params,
      ...bCode.params,
      ...gate.params,
      ...epilogue?.params,
    },
    functions: [a.functions, bCode.functions, gate.functions, epilogue?.functions ?? ''].join('\n'),
    body,
    workgroups,
    work: { flops: gemmFlops(problem) },
  };
}
