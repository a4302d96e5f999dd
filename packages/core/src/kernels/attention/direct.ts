import type { DispatchSpec } from '../../plan/lowering.ts';
import { attentionDispatch } from './dispatch.ts';
import type { AttentionProblem } from './problem.ts';
import { loadGroup, SCORE_CONSTANTS } from './shared.ts';

/**
 * Attention for adapters that run on a CPU, where compiling costs more than running: everything that can be a loop is one,
 * and operands are read where they lie. A workgroup takes some blocks of eight queries of a head. For each tile of keys it
 * makes the scores, four queries with four keys at a time, in workgroup memory, then their softmax, then adds the values: a
 * thread has eight queries and four columns of the results.
 */
export interface DirectShape {
  /** Blocks of eight queries in a workgroup. */
  blocks: number;
  /** Multiple of 4. */
  tileKeys: number;
}

const BLOCK = 8;

export function directThreads({ valueSize }: AttentionProblem, { blocks }: DirectShape): number {
  return blocks * Math.ceil(valueSize / 4);
}

export function directBytes({ blocks, tileKeys }: DirectShape): number {
  return blocks * BLOCK * (4 * tileKeys + 12);
}

export function directKernel(problem: AttentionProblem, shape: DirectShape): DispatchSpec {
  const { blocks, tileKeys } = shape;
  const { headSize, valueSize, causal } = problem;
  const rows = blocks * BLOCK;
  const valueGroups = Math.ceil(valueSize / 4);
  const threads = directThreads(problem, shape);
  const pitch = tileKeys / 4;
  const each = (count: number, text: (i: number) => string, separator = '\n      '): string =>
    Array.from({ length: count }, (_, i) => text(i)).join(separator);

  // Whatever the number of keys, so that one pipeline serves a picture's and a prompt's.
  const excluded = `(at >= vec4u(params.keys))${causal ? ' | (at > vec4u(query))' : ''}`;
  const masked = problem.mask
    ? 'for (var e = 0u; e < 4u; e++) { s[e] = masked(s[e], b, h, query, min(at[e], params.keys - 1u)); }'
    : '';

  const body = `
${SCORE_CONSTANTS}
var<workgroup> scores: array<vec4f, ${rows * pitch}>;
var<workgroup> maxima: array<f32, ${rows}>;
var<workgroup> sums: array<f32, ${rows}>;
var<workgroup> factors: array<f32, ${rows}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let h = (workgroup / params.blocks) % params.heads;
  let b = workgroup / params.blocks / params.heads;
  let row0 = (workgroup % params.blocks) * ${rows}u;
  let q_at = q_base(b, h);
  let k_at = k_base(b, h);
  let v_at = v_base(b, h);
  let x = lane % ${valueGroups}u;
  let y = lane / ${valueGroups}u;
  for (var row = lane; row < ${rows}u; row += ${threads}u) { maxima[row] = NO_MAXIMUM; sums[row] = 0.0; }
  ${each(BLOCK, (r) => `var o${r} = vec4f();`, ' ')}
  let end = ${causal ? `min(params.keys, row0 + ${rows}u)` : 'params.keys'};
  for (var key0 = 0u; key0 < end; key0 += ${tileKeys}u) {
    // Fours of keys that the tile has.
    let groups = (min(${tileKeys}u, end - key0) + 3u) / 4u;
    workgroupBarrier();
    for (var unit = lane; unit < ${rows / 4}u * groups; unit += ${threads}u) {
      let row = unit / groups * 4u;
      let key = key0 + unit % groups * 4u;
      ${each(4, (r) => `let q${r} = q_at + min(row0 + row + ${r}u, params.queries - 1u) * params.q_row; var s${r} = vec4f();`)}
      ${each(4, (k) => `let k${k} = k_at + min(key + ${k}u, params.keys - 1u) * params.k_row;`)}
      for (var d = 0u; d < ${headSize}u; d += 4u) {
        ${each(4, (k) => `let key${k} = K_group(k${k}, d);`, ' ')}
        ${each(4, (r) => `{ let q = Q_group(q${r}, d); s${r} += vec4f(${each(4, (k) => `dot(q, key${k})`, ', ')}); }`, '\n        ')}
      }
      let at = row * ${pitch}u + unit % groups;
      ${each(4, (r) => `scores[at + ${r * pitch}u] = params.scale * s${r};`, ' ')}
    }
    workgroupBarrier();
    for (var row = lane; row < ${rows}u; row += ${threads}u) {
      let query = min(row0 + row, params.queries - 1u);
      let before = maxima[row];
      var most = vec4f(before);
      for (var g = 0u; g < groups; g++) {
        var s = scores[row * ${pitch}u + g];
        let at = vec4u(key0 + g * 4u) + vec4u(0u, 1u, 2u, 3u);
        ${masked}
        s = select(s, vec4f(EXCLUDED), ${excluded});
        scores[row * ${pitch}u + g] = s;
        most = max(most, s);
      }
      let highest = max(max(most.x, most.y), max(most.z, most.w));
      var sum = vec4f();
      for (var g = 0u; g < groups; g++) {
        let weights = exp2(scores[row * ${pitch}u + g] - highest);
        scores[row * ${pitch}u + g] = weights;
        sum += weights;
      }
      let shrink = exp2(before - highest);
      maxima[row] = highest;
      sums[row] = sums[row] * shrink + (sum.x + sum.y) + (sum.z + sum.w);
      factors[row] = shrink;
    }
    workgroupBarrier();
    let mine = y * ${BLOCK}u;
    ${each(BLOCK, (r) => `o${r} *= factors[mine + ${r}u];`, ' ')}
    for (var g = 0u; g < groups; g++) {
      let at = mine * ${pitch}u + g;
      ${each(BLOCK, (r) => `let p${r} = scores[at + ${r * pitch}u];`, ' ')}
      ${each(
        4,
        (e) => `{
        let v = V_group(v_at + min(key0 + g * 4u + ${e}u, params.keys - 1u) * params.v_row, x * 4u);
        ${each(BLOCK, (r) => `o${r} = fma(vec4f(p${r}[${e}]), v, o${r});`, ' ')}
      }`,
      )}
    }
  }
  // In a loop, so that the epilogue is compiled once.
  var results = array<vec4f, ${BLOCK}>(${each(BLOCK, (r) => `o${r}`, ', ')});
  for (var r = 0u; r < ${BLOCK}u; r++) {
    let row = y * ${BLOCK}u + r;
    if (row0 + row < params.queries) {
      let i = ((b * params.queries + row0 + row) * params.heads + h) * ${4 * valueGroups}u + x * 4u;
      Y_store4(i, epilogue(select(0.0, 1.0 / sums[row], sums[row] > 0.0) * results[r], i));
    }
  }
}`;
  return attentionDispatch(problem, {
    name: `attention_direct_${headSize}_${threads}x${tileKeys}`,
    rows,
    loads: [
      loadGroup('Q', problem.q, headSize),
      loadGroup('K', problem.k, headSize),
      loadGroup('V', problem.v, valueSize),
    ],
    body,
  });
}
