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
import { directB } from './direct-b.ts';
import { chunkDepth } from './pack-integers.ts';
import { batchSize, multipliedColumns, range, type GemmProblem, type PreparedB } from './problem.ts';
import { aSource, readsByElement } from './sources.ts';

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
  const tileDepth = directDepth(problem, b);
  const a = aSource(problem, tileDepth, native);
  const gate = gateCode(problem.gate);
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);
  const rows = range(threadRows);
  const groups = range(threadColumns / 4);
  const right = directB(problem, b, groups.length, tileDepth, native);
  const tilesM = Math.ceil(problem.rows / (threadRows * rowLanes));
  const tilesN = Math.ceil(multipliedColumns(problem) / (threadColumns * lanes));
  const tiles = tilesM * tilesN;
  const workgroups = tiles * batchSize(problem);
  // A gate wants pairs of neighbours in one thread.
  const group = (j: number): string =>
    problem.gate ? `(x * ${groups.length}u + ${j}u)` : `(x + ${j * lanes}u)`;
  // Rows of B give four columns of one depth, columns of B four depths of one column.
  const multiply = range(4)
    .map(
      (e) => `{
        ${groups.map((j) => `let b${j} = ${right.four(j, e)};`).join(' ')}
        ${rows
          .map((r) =>
            groups
              .map((j) =>
                b.layout === 'kn'
                  ? `c${r}_${j} += a${r}[${e}] * b${j};`
                  : `c${r}_${j}[${e}] += dot(a${r}, b${j});`,
              )
              .join(' '),
          )
          .join('\n        ')}
      }`,
    )
    .join('\n      ');
  const body = `
${
  a.starts ??
  `alias AStart = ARow;
fn a_start(row: ARow, step: AStep) -> AStart { return row; }
fn a_from4(step: AStep, start: AStart, k: u32) -> vec4f { return a_load4(start, step, k); }`
}
${storeCode(problem, partial)}
@compute @workgroup_size(${lanes * rowLanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  ${tileOrder(problem, tiles, 1)}
  let x = lane % ${lanes}u;
  let m0 = (tile_m * ${rowLanes}u + lane / ${lanes}u) * ${threadRows}u;
  let n0 = tile_n * ${threadColumns * lanes}u;
  // In loops, so that what finds a row and its tiles is compiled once, not for each row.
  var rows: array<ARow, ${threadRows}>;
  var starts: array<AStart, ${threadRows}>;
  for (var r = 0u; r < ${threadRows}u; r++) { rows[r] = a_row(batch, min(m0 + r, params.rows - 1u)); }
  // Columns beyond the last are read again and not stored.
  ${groups.map((j) => `let s${j} = min(n0 + ${group(j)} * 4u, (params.b_columns - 1u) / 4u * 4u);`).join('\n  ')}
  ${right.start}
  ${rows.map((r) => groups.map((j) => `var c${r}_${j} = vec4f();`).join(' ')).join('\n  ')}
  for (var k0 = 0u; k0 < params.depth; k0 += ${tileDepth}u) {
    let step = a_step(k0);
    for (var r = 0u; r < ${threadRows}u; r++) { starts[r] = a_start(rows[r], step); }
    ${rows.map((r) => `let r${r} = starts[${r}];`).join(' ')}
    ${right.tile}
    for (var k = 0u; k < ${tileDepth}u; k += 4u) {
      ${rows.map((r) => `let a${r} = a_from4(step, r${r}, k);`).join('\n      ')}
      ${multiply}
    }
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
    inputs: { ...a.inputs, ...right.code.inputs, ...gate.inputs, ...epilogue?.inputs },
    raw: right.code.raw ?? [],
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

/** Depth of what a thread finds at a time: up to 32, in one kernel tap, one tensor and one scale. */
function directDepth(problem: GemmProblem, { integers }: PreparedB): number {
  const { a, depth } = problem;
  if (a.kind === 'winograd' || readsByElement(problem)) return 4;
  const lengths = [a.kind === 'convolution' ? a.channels : depth];
  if (a.pair) lengths.push(a.pair.widths[0]);
  if (integers) lengths.push(chunkDepth(integers.bits));
  if (integers && integers.run !== Infinity) lengths.push(integers.run);
  // Powers of two, so that few kernels serve all channels.
  return Math.max(4, Math.min(32, ...lengths.map((length) => length & -length)));
}
