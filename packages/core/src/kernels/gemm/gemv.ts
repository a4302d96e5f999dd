import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { gateCode, gemmFlops, integerSuffix, outputParams, storeCode, type PartialSums } from './output.ts';
import { batchSize, multipliedColumns, range, type GemmProblem, type PreparedB } from './problem.ts';
import { integerPieces } from './integer-source.ts';
import { chunkDepth } from './pack-integers.ts';
import type { SourceCode } from './source-code.ts';
import { aSource, bSource } from './sources.ts';

/** Product with few rows (time embeddings, pooled vectors): bound by reading B, which every thread does for itself. */
export interface GemvShape {
  /** Threads side by side along columns, four columns each. */
  lanes: number;
  /** Threads that share the depth. */
  depthLanes: number;
}

/** At most this many rows: each costs a vec4 accumulator and a load per step. */
export const GEMV_ROWS = 8;

export function gemvKernel(
  problem: GemmProblem,
  b: PreparedB,
  { lanes, depthLanes }: GemvShape,
  partial: PartialSums | undefined,
  native: boolean,
): DispatchSpec {
  const rows = range(problem.rows);
  const threads = lanes * depthLanes;
  const right = gemvB(problem, b, native);
  const a = aSource(problem, right.step, native);
  const gate = gateCode(problem.gate);
  const epilogue = partial ? undefined : epilogueCode(problem.epilogue, problem.output.view);
  const tilesN = Math.ceil(multipliedColumns(problem) / (lanes * 4));
  const workgroups = tilesN * batchSize(problem);
  const multiplied = (m: number): string =>
    b.layout === 'nk'
      ? `c${m} + vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3))`
      : `fma(vec4f(a.x), b0, fma(vec4f(a.y), b1, fma(vec4f(a.z), b2, fma(vec4f(a.w), b3, c${m}))))`;
  const body = `
var<workgroup> sums: array<vec4f, ${threads}>;
fn sum(x: u32) -> vec4f {
  var v = vec4f();
  for (var s = 0u; s < ${depthLanes}u; s++) { v += sums[s * ${lanes}u + x]; }
  return v;
}
${storeCode(problem, partial)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let batch = workgroup / params.tiles_n;
  let n0 = (workgroup % params.tiles_n) * ${lanes * 4}u;
  let x = lane % ${lanes}u;
  let n = n0 + x * 4u;
  ${rows.map((m) => `let r${m} = a_row(batch, ${m}u); var c${m} = vec4f();`).join('\n  ')}
  if (n < params.b_columns) {
    ${right.start}
    for (var k = (lane / ${lanes}u) * ${right.step}u; k < params.depth; k += ${depthLanes * right.step}u) {
      let step = a_step(k);
      ${right.fetch}
      ${range(right.step / 4)
        .map(
          (g) => `{
        ${range(4)
          .map((e) => `let b${e} = ${right.group(g, e)};`)
          .join(' ')}
        ${rows.map((m) => `{ let a = a_load4(r${m}, step, ${4 * g}u); c${m} = ${multiplied(m)}; }`).join('\n        ')}
      }`,
        )
        .join('\n      ')}
    }
  }
  ${rows
    .map(
      (m) => `sums[lane] = c${m};
  workgroupBarrier();
  ${
    problem.gate
      ? `if (lane < ${lanes / 2}u) { put_gated(0u, batch, ${m}u, n0 / 2u + lane * 4u, sum(lane * 2u), sum(lane * 2u + 1u)); }`
      : `if (lane < ${lanes}u) { put(0u, batch, ${m}u, n, sum(lane)); }`
  }`,
    )
    .join('\n  workgroupBarrier();\n  ')}
}`;
  return {
    name: `${problem.name}_gemv_${problem.rows}x${lanes * 4}${problem.gate ? '_gated' : ''}${integerSuffix(b)}${partial ? '_partial' : ''}`,
    raw: right.code.raw ?? [],
    inputs: { ...a.inputs, ...right.code.inputs, ...gate.inputs, ...epilogue?.inputs },
    outputs: { Y: partial?.view ?? problem.output.view },
    params: {
      rows: u32(problem.rows),
      columns: u32(problem.columns),
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

/** How a thread reads what its four columns have in one step of depth. */
interface GemvB {
  code: SourceCode;
  /** Depths of a step. */
  step: number;
  /** Before the loop. */
  start: string;
  /** In a step, before its groups of four depths. */
  fetch: string;
  /** WGSL of vector `e` of a group: four columns at one depth or, along depth, one column at four. */
  group(group: number, e: number): string;
}

function gemvB(problem: GemmProblem, b: PreparedB, native: boolean): GemvB {
  if (!b.integers) {
    const at = (e: number): string => (b.layout === 'nk' ? `k, n + ${e}u` : `k + ${e}u, n`);
    return {
      code: bSource(problem, b, 4, native),
      step: 4,
      start: '',
      fetch: '',
      group: (_, e) => `b_unpack4(b_fetch4(batch, ${at(e)}))`,
    };
  }
  const step = chunkDepth(b.integers.bits);
  const pieces = integerPieces(problem, b, b.integers, step, 4, false);
  return {
    code: pieces,
    step,
    start: range(4)
      .map((e) => `let column${e} = b_column(batch, n + ${e}u, 0u);`)
      .join(' '),
    fetch: `let b_tile = b_step(k);
      ${range(4)
        .map((e) => `let piece${e} = b_fetch(column${e}, b_tile);`)
        .join(' ')}`,
    group: (group, e) => pieces.group(`column${e}`, `piece${e}`, group),
  };
}
