import type { DispatchSpec } from '../../plan/lowering.ts';
import { attentionDispatch } from './dispatch.ts';
import type { AttentionProblem } from './problem.ts';
import { loadGroup, SCORE_CONSTANTS } from './shared.ts';

/**
 * Flash attention in f32 with queries, results and the online softmax (Milakov & Gimelshein 2018, Dao et al. 2022) in
 * registers. `lanes` neighbouring threads share `rows` queries, each holding every `lanes`th group of four elements of
 * them; keys and values go through workgroup memory in tiles of `tileKeys`, and each element read from there serves
 * `rows` queries. Scores are summed over the lanes so that each lane ends with every `lanes`th key: then an
 * exponential is computed once, by one lane.
 */
export interface RowsShape {
  threads: number;
  /** Power of two; subgroups must be at least as large where they are used. */
  lanes: number;
  /** Queries of a thread: 1 to 4. */
  rows: number;
  /** Multiple of `lanes`. */
  tileKeys: number;
  /** Exchange values between lanes by subgroup operations; else through workgroup memory, which is slow. */
  subgroups: boolean;
}

export function rowsWorkgroupBytes(problem: AttentionProblem, shape: RowsShape): number {
  const groups = Math.ceil(problem.headSize / 4) + Math.ceil(problem.valueSize / 4);
  return shape.tileKeys * groups * 16 + (shape.subgroups ? 0 : shape.threads * 16);
}

export function rowsKernel(problem: AttentionProblem, shape: RowsShape): DispatchSpec {
  const { threads, lanes, rows, tileKeys, subgroups } = shape;
  const { headSize, valueSize, keys, causal } = problem;
  const rowsPerWorkgroup = (threads / lanes) * rows;
  const [headGroups, valueGroups] = [Math.ceil(headSize / 4), Math.ceil(valueSize / 4)];
  const own = {
    head: Math.ceil(headGroups / lanes),
    value: Math.ceil(valueGroups / lanes),
  };
  const each = (count: number, text: (i: number) => string, separator = '\n  '): string =>
    Array.from({ length: count }, (_, i) => text(i)).join(separator);
  const steps = Math.log2(lanes);
  const keyGroups = tileKeys / lanes;
  const component = (r: number): string => 'xyzw'[r]!;
  // Without padding, lanes whose last group lies beyond the end still read inside the tile.
  const group = (i: number, count: number): string =>
    (i + 1) * lanes <= count ? `${i * lanes}u + part` : `min(${i * lanes}u + part, ${count - 1}u)`;

  /** Scores of `lanes` keys: partial sums over the thread's elements, added up so that each lane gets its key. */
  const scores = `
    for (var g = 0u; g < ${keyGroups}u; g++) {
      ${each(lanes, (j) => `var t${j} = vec4f();`, ' ')}
      ${each(
        lanes,
        (j) => `{
        let key = g * ${lanes}u + ${j}u;
        ${each(
          own.head,
          (i) => `{
          let k = tile_k[key][${group(i, headGroups)}];
          ${each(rows, (r) => each(4, (e) => `t${j}.${component(r)} = fma(q${r}_${i}.${component(e)}, k.${component(e)}, t${j}.${component(r)});`, ' '), '\n          ')}
        }`,
          '\n        ',
        )}
      }`,
        '\n      ',
      )}
      ${each(
        steps,
        (step) => {
          const half = lanes >> (step + 1);
          return each(
            half,
            (j) =>
              `{ let upper = (part & ${half}u) != 0u; t${j} = select(t${j}, t${j + half}, upper) + exchange(select(t${j + half}, t${j}, upper), ${half}u, lane); }`,
            '\n      ',
          );
        },
        '\n      ',
      )}
      s[g] = t0;
    }`;
  const limit = (r: number): string => {
    const excluded = ['key >= params.keys', ...(causal ? [`key > row0 + ${r}u`] : [])].join(' || ');
    const score = problem.mask
      ? `masked(s[g].${component(r)}, b, h, min(row0 + ${r}u, params.queries - 1u), min(key, params.keys - 1u))`
      : `s[g].${component(r)}`;
    return `s[g].${component(r)} = select(${score}, EXCLUDED, ${excluded});`;
  };
  const tailChecks = problem.mask !== undefined || causal || keys % tileKeys !== 0;

  const body = `
${SCORE_CONSTANTS}
var<workgroup> tile_k: array<array<vec4f, ${headGroups}>, ${tileKeys}>;
var<workgroup> tile_v: array<array<vec4f, ${valueGroups}>, ${tileKeys}>;
${
  subgroups
    ? `fn exchange(v: vec4f, distance: u32, lane: u32) -> vec4f { return subgroupShuffleXor(v, distance); }
fn from_lane(v: vec4f, source: u32, part: u32, lane: u32, invocation: u32) -> vec4f { return subgroupShuffle(v, invocation - part + source); }`
    : `var<workgroup> exchanged: array<vec4f, ${threads}>;
fn from_thread(v: vec4f, lane: u32, source: u32) -> vec4f {
  workgroupBarrier();
  exchanged[lane] = v;
  workgroupBarrier();
  return exchanged[source];
}
fn exchange(v: vec4f, distance: u32, lane: u32) -> vec4f { return from_thread(v, lane, lane ^ distance); }
fn from_lane(v: vec4f, source: u32, part: u32, lane: u32, invocation: u32) -> vec4f { return from_thread(v, lane, lane - part + source); }`
}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32${subgroups ? ', @builtin(subgroup_invocation_id) invocation: u32' : ''}) {
  ${subgroups ? '' : 'let invocation = lane;'}
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let block = workgroup % params.blocks;
  let h = (workgroup / params.blocks) % params.heads;
  let b = workgroup / params.blocks / params.heads;
  let part = lane % ${lanes}u;
  let row0 = block * ${rowsPerWorkgroup}u + (lane / ${lanes}u) * ${rows}u;
  let q_at = q_base(b, h);
  let k_at = k_base(b, h);
  let v_at = v_base(b, h);
  ${each(rows, (r) =>
    each(
      own.head,
      (i) =>
        `let q${r}_${i} = params.scale * Q_group(q_at + min(row0 + ${r}u, params.queries - 1u) * params.q_row, (${i * lanes}u + part) * 4u);`,
    ),
  )}
  ${each(rows, (r) => each(own.value, (i) => `var o${r}_${i} = vec4f();`, ' '))}
  var maximum = vec4f(NO_MAXIMUM);
  var sum = vec4f();
  let end = ${causal ? `min(params.keys, (block + 1u) * ${rowsPerWorkgroup}u)` : 'params.keys'};
  for (var key0 = 0u; key0 < end; key0 += ${tileKeys}u) {
    workgroupBarrier();
    for (var i = lane; i < ${tileKeys * headGroups}u; i += ${threads}u) {
      let key = i / ${headGroups}u;
      tile_k[key][i % ${headGroups}u] = K_group(k_at + min(key0 + key, params.keys - 1u) * params.k_row, (i % ${headGroups}u) * 4u);
    }
    for (var i = lane; i < ${tileKeys * valueGroups}u; i += ${threads}u) {
      let key = i / ${valueGroups}u;
      tile_v[key][i % ${valueGroups}u] = V_group(v_at + min(key0 + key, params.keys - 1u) * params.v_row, (i % ${valueGroups}u) * 4u);
    }
    workgroupBarrier();
    var s = array<vec4f, ${keyGroups}>();
    ${scores}
    ${
      tailChecks
        ? `for (var g = 0u; g < ${keyGroups}u; g++) {
      let key = key0 + g * ${lanes}u + part;
      ${each(rows, limit, '\n      ')}
    }`
        : ''
    }
    var highest = s[0];
    for (var g = 1u; g < ${keyGroups}u; g++) { highest = max(highest, s[g]); }
    ${each(steps, (step) => `highest = max(highest, exchange(highest, ${1 << step}u, lane));`, '\n    ')}
    let next = max(maximum, highest);
    let shrink = exp2(maximum - next);
    maximum = next;
    sum *= shrink;
    ${each(rows, (r) => each(own.value, (i) => `o${r}_${i} *= shrink.${component(r)};`, ' '), '\n    ')}
    for (var g = 0u; g < ${keyGroups}u; g++) {
      let weight = exp2(s[g] - maximum);
      sum += weight;
      ${each(
        lanes,
        (j) => `{
        let p = ${lanes === 1 ? 'weight' : `from_lane(weight, ${j}u, part, lane, invocation)`};
        ${each(
          own.value,
          (i) => `{
          let v = tile_v[g * ${lanes}u + ${j}u][${group(i, valueGroups)}];
          ${each(rows, (r) => `o${r}_${i} = fma(vec4f(p.${component(r)}), v, o${r}_${i});`, ' ')}
        }`,
          '\n        ',
        )}
      }`,
        '\n      ',
      )}
    }
  }
  ${each(steps, (step) => `sum += exchange(sum, ${1 << step}u, lane);`)}
  let factor = select(vec4f(), 1.0 / sum, sum > vec4f());
  ${each(rows, (r) =>
    each(
      own.value,
      (i) =>
        `if (row0 + ${r}u < params.queries && ${i * lanes}u + part < ${valueGroups}u) { put(((b * params.queries + row0 + ${r}u) * params.heads + h) * ${valueGroups * 4}u + (${i * lanes}u + part) * 4u, factor.${component(r)} * o${r}_${i}); }`,
    ),
  )}
}
fn put(i: u32, v: vec4f) { Y_store4(i, epilogue(v, i)); }`;
  return attentionDispatch(problem, {
    name: `attention_rows_${headSize}_${threads}/${lanes}x${rows}`,
    rows: rowsPerWorkgroup,
    directives: subgroups ? ['enable subgroups', 'diagnostic(off, subgroup_uniformity)'] : [],
    loads: [
      loadGroup('Q', problem.q, headSize),
      loadGroup('K', problem.k, headSize),
      loadGroup('V', problem.v, valueSize),
    ],
    body,
  });
}
