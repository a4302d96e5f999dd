import type { DispatchSpec } from '../../plan/lowering.ts';
import { attentionDispatch } from './dispatch.ts';
import type { AttentionProblem } from './problem.ts';
import { loadGroup, SCORE_CONSTANTS } from './shared.ts';

/**
 * Flash attention in f32 for heads too large for a few threads' registers (512 in VAEs). A workgroup takes 32 queries; a
 * thread has eight of them and some groups of four columns of the results. For each tile of keys the workgroup makes the
 * scores, queries and keys coming through memory in chunks of the head, then the softmax, then adds the values, which
 * come in chunks of keys. Chunks are read into registers while the one before is worked on.
 */
export interface WideShape {
  /** Threads beside each other over the columns of the results; a workgroup has four rows of them. */
  columnLanes: number;
  /** Keys in a tile: 32 or 64. */
  tileKeys: number;
}

/** Queries of a workgroup, and of a thread. */
const ROWS = 32;
const THREAD_ROWS = 8;

/** Groups of four of the head in a chunk. */
const CHUNK_GROUPS = 8;
/** Rows of chunks are padded by a vec4, against bank conflicts. */
const CHUNK_PITCH = CHUNK_GROUPS + 1;

export function wideThreads({ columnLanes }: WideShape): number {
  return (ROWS / THREAD_ROWS) * columnLanes;
}

interface Sizes {
  headGroups: number;
  valueGroups: number;
  /** Keys in a chunk of values. */
  chunkKeys: number;
  /** vec4f of the tile that all chunks go through. */
  tile: number;
  scorePitch: number;
}

function sizesOf({ headSize, valueSize }: AttentionProblem, { tileKeys }: WideShape): Sizes {
  const valueGroups = Math.ceil(valueSize / 4);
  const chunks = (ROWS + tileKeys) * CHUNK_PITCH;
  let chunkKeys = tileKeys;
  while (chunkKeys > 4 && chunkKeys * valueGroups > chunks) chunkKeys /= 2;
  return {
    headGroups: Math.ceil(headSize / 4),
    valueGroups,
    chunkKeys,
    tile: Math.max(chunks, chunkKeys * valueGroups),
    scorePitch: tileKeys / 4 + 1,
  };
}

export function wideBytes(problem: AttentionProblem, shape: WideShape): number {
  const { tile, scorePitch } = sizesOf(problem, shape);
  return 16 * (tile + ROWS * scorePitch) + 12 * ROWS;
}

export function wideKernel(problem: AttentionProblem, shape: WideShape): DispatchSpec {
  const { columnLanes, tileKeys } = shape;
  const { headSize, valueSize, keys, causal } = problem;
  const { headGroups, valueGroups, chunkKeys, tile, scorePitch } = sizesOf(problem, shape);
  const threads = wideThreads(shape);
  const each = (count: number, text: (i: number) => string, separator = '\n    '): string =>
    Array.from({ length: count }, (_, i) => text(i)).join(separator);

  const ownGroups = Math.ceil(valueGroups / columnLanes);
  /** Lanes whose last group lies beyond the end read inside the tile and do not store. */
  const group = (j: number): string =>
    (j + 1) * columnLanes <= valueGroups
      ? `(x + ${j * columnLanes}u)`
      : `min(x + ${j * columnLanes}u, ${valueGroups - 1}u)`;

  /** Scores of a thread at a time: four rows with two keys that lie half a tile apart. */
  const units = (ROWS / 4) * (tileKeys / 2);
  const ownUnits = Math.ceil(units / threads);
  const unit = (u: number): string => {
    const index = `(${u * threads}u + lane)`;
    return (u + 1) * threads <= units ? index : `min(${index}, ${units - 1}u)`;
  };

  const chunkSlots = Math.ceil(((ROWS + tileKeys) * CHUNK_GROUPS) / threads);
  const valueSlots = Math.ceil((chunkKeys * valueGroups) / threads);
  const guarded = (i: number, total: number, text: string): string =>
    (i + 1) * threads <= total ? text : `if (${i * threads}u + lane < ${total}u) { ${text} }`;
  const chunkTotal = (ROWS + tileKeys) * CHUNK_GROUPS;
  const valueTotal = chunkKeys * valueGroups;
  const fetchChunk = (key0: string, chunk: string): string =>
    each(chunkSlots, (i) =>
      guarded(
        i,
        chunkTotal,
        `f${i} = chunk_group(${i * threads}u + lane, ${key0}, ${chunk}, q_at, k_at, row0);`,
      ),
    );
  const putChunk = each(chunkSlots, (i) =>
    guarded(
      i,
      chunkTotal,
      `tile[(${i * threads}u + lane) / ${CHUNK_GROUPS}u * ${CHUNK_PITCH}u + (${i * threads}u + lane) % ${CHUNK_GROUPS}u] = f${i};`,
    ),
  );
  const fetchValues = (key: string): string =>
    each(valueSlots, (i) =>
      guarded(i, valueTotal, `f${i} = value_group(${i * threads}u + lane, ${key}, v_at);`),
    );
  const putValues = each(valueSlots, (i) => guarded(i, valueTotal, `tile[${i * threads}u + lane] = f${i};`));

  const multiply = each(
    ownUnits,
    (u) => `{
        let rows_at = unit${u} / ${tileKeys / 2}u * 4u;
        let key = unit${u} % ${tileKeys / 2}u;
        ${each(2, (k) => `let k${k} = tile[(${ROWS}u + key + ${(k * tileKeys) / 2}u) * ${CHUNK_PITCH}u + g];`, ' ')}
        ${each(
          4,
          (r) => `{ let q = tile[(rows_at + ${r}u) * ${CHUNK_PITCH}u + g];
        ${each(
          2,
          (k) =>
            `s${u}_${k}.${'xyzw'[r]!} = fma(q.x, k${k}.x, fma(q.y, k${k}.y, fma(q.z, k${k}.z, fma(q.w, k${k}.w, s${u}_${k}.${'xyzw'[r]!}))));`,
          ' ',
        )} }`,
          '\n        ',
        )}
      }`,
    '\n      ',
  );
  const storeScores = each(ownUnits, (u) =>
    guarded(
      u,
      units,
      `{ let rows_at = unit${u} / ${tileKeys / 2}u * 4u; let key = unit${u} % ${tileKeys / 2}u; ${each(
        2,
        (k) =>
          each(
            4,
            (r) =>
              `scores[(rows_at + ${r}u) * ${scorePitch}u + (key + ${(k * tileKeys) / 2}u) / 4u][key % 4u] = s${u}_${k}.${'xyzw'[r]!};`,
            ' ',
          ),
        ' ',
      )} }`,
    ),
  );
  const excluded = ['first + e >= params.keys', ...(causal ? ['first + e > query'] : [])].join(' || ');
  const limited = problem.mask !== undefined || causal || keys % tileKeys !== 0;
  const limit = limited
    ? `let first = key0 + g * 4u;
        for (var e = 0u; e < 4u; e++) {
          s[e] = select(${problem.mask ? 'masked(s[e], b, h, query, min(first + e, params.keys - 1u))' : 's[e]'}, EXCLUDED, ${excluded});
        }`
    : '';

  const addValues = `for (var key = 0u; key < ${chunkKeys}u; key += 4u) {
        ${each(THREAD_ROWS, (r) => `let p${r} = scores[(y * ${THREAD_ROWS}u + ${r}u) * ${scorePitch}u + (chunk + key) / 4u];`, '\n        ')}
        ${each(
          4,
          (e) => `{
          ${each(ownGroups, (j) => `let v${j} = tile[(key + ${e}u) * ${valueGroups}u + ${group(j)}];`, ' ')}
          ${each(THREAD_ROWS, (r) => each(ownGroups, (j) => `o${r}_${j} = fma(vec4f(p${r}.${'xyzw'[e]!}), v${j}, o${r}_${j});`, ' '), '\n          ')}
        }`,
          '\n        ',
        )}
      }`;

  const body = `
${SCORE_CONSTANTS}
var<workgroup> tile: array<vec4f, ${tile}>;
var<workgroup> scores: array<vec4f, ${ROWS * scorePitch}>;
var<workgroup> maxima: array<f32, ${ROWS}>;
var<workgroup> sums: array<f32, ${ROWS}>;
var<workgroup> factors: array<f32, ${ROWS}>;
fn put(i: u32, v: vec4f) { Y_store4(i, epilogue(v, i)); }
/** Queries, then keys: a group of four of a chunk of the head. */
fn chunk_group(slot: u32, key0: u32, chunk: u32, q_at: u32, k_at: u32, row0: u32) -> vec4f {
  let row = slot / ${CHUNK_GROUPS}u;
  let d = (chunk * ${CHUNK_GROUPS}u + slot % ${CHUNK_GROUPS}u) * 4u;
  if (row < ${ROWS}u) { return Q_group(q_at + min(row0 + row, params.queries - 1u) * params.q_row, d); }
  return K_group(k_at + min(key0 + row - ${ROWS}u, params.keys - 1u) * params.k_row, d);
}
fn value_group(slot: u32, key: u32, v_at: u32) -> vec4f {
  return V_group(v_at + min(key + slot / ${valueGroups}u, params.keys - 1u) * params.v_row, (slot % ${valueGroups}u) * 4u);
}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let block = workgroup % params.blocks;
  let h = (workgroup / params.blocks) % params.heads;
  let b = workgroup / params.blocks / params.heads;
  let row0 = block * ${ROWS}u;
  let x = lane % ${columnLanes}u;
  let y = lane / ${columnLanes}u;
  let q_at = q_base(b, h);
  let k_at = k_base(b, h);
  let v_at = v_base(b, h);
  if (lane < ${ROWS}u) { maxima[lane] = NO_MAXIMUM; sums[lane] = 0.0; }
  ${each(THREAD_ROWS, (r) => each(ownGroups, (j) => `var o${r}_${j} = vec4f();`, ' '), '\n  ')}
  ${each(ownUnits, (u) => `let unit${u} = ${unit(u)};`, '\n  ')}
  ${each(Math.max(chunkSlots, valueSlots), (i) => `var f${i} = vec4f();`, ' ')}
  let end = ${causal ? `min(params.keys, (block + 1u) * ${ROWS}u)` : 'params.keys'};
  ${fetchChunk('0u', '0u')}
  for (var key0 = 0u; key0 < end; key0 += ${tileKeys}u) {
    ${each(ownUnits, (u) => `var s${u}_0 = vec4f(); var s${u}_1 = vec4f();`, ' ')}
    for (var chunk = 0u; chunk < ${Math.ceil(headGroups / CHUNK_GROUPS)}u; chunk++) {
      workgroupBarrier();
      ${putChunk}
      workgroupBarrier();
      if (chunk < ${Math.ceil(headGroups / CHUNK_GROUPS) - 1}u) { ${fetchChunk('key0', '(chunk + 1u)')} }
      else { ${fetchValues('key0')} }
      for (var g = 0u; g < ${CHUNK_GROUPS}u; g++) {
      ${multiply}
      }
    }
    ${storeScores}
    workgroupBarrier();
    // A thread takes a row: with results in registers beside it, the softmax is a small part of the work.
    for (var row = lane; row < ${ROWS}u; row += ${threads}u) {
      let start = row * ${scorePitch}u;
      let query = min(row0 + row, params.queries - 1u);
      var most = vec4f(NO_MAXIMUM);
      for (var g = 0u; g < ${tileKeys / 4}u; g++) {
        var s = params.scale * scores[start + g];
        ${limit}
        scores[start + g] = s;
        most = max(most, s);
      }
      let before = maxima[row];
      let highest = max(before, max(max(most.x, most.y), max(most.z, most.w)));
      var sum = vec4f();
      for (var g = 0u; g < ${tileKeys / 4}u; g++) {
        let weights = exp2(scores[start + g] - highest);
        scores[start + g] = weights;
        sum += weights;
      }
      let shrink = exp2(before - highest);
      maxima[row] = highest;
      sums[row] = sums[row] * shrink + (sum.x + sum.y) + (sum.z + sum.w);
      factors[row] = shrink;
    }
    workgroupBarrier();
    ${each(THREAD_ROWS, (r) => `{ let shrink = factors[y * ${THREAD_ROWS}u + ${r}u]; ${each(ownGroups, (j) => `o${r}_${j} *= shrink;`, ' ')} }`)}
    for (var chunk = 0u; chunk < ${tileKeys}u; chunk += ${chunkKeys}u) {
      workgroupBarrier();
      ${putValues}
      workgroupBarrier();
      if (chunk < ${tileKeys - chunkKeys}u) { ${fetchValues(`(key0 + chunk + ${chunkKeys}u)`)} }
      else if (key0 + ${tileKeys}u < end) { ${fetchChunk(`(key0 + ${tileKeys}u)`, '0u')} }
      ${addValues}
    }
  }
  ${each(
    THREAD_ROWS,
    (r) => `{
    let row = y * ${THREAD_ROWS}u + ${r}u;
    let factor = select(0.0, 1.0 / sums[row], sums[row] > 0.0);
    if (row0 + row < params.queries) {
      ${each(ownGroups, (j) => `${(j + 1) * columnLanes <= valueGroups ? '' : `if (x + ${j * columnLanes}u < ${valueGroups}u) `}{ put(((b * params.queries + row0 + row) * params.heads + h) * ${valueGroups * 4}u + (x + ${j * columnLanes}u) * 4u, factor * o${r}_${j}); }`, ' ')}
    }
  }`,
    '\n  ',
  )}
}`;
  return attentionDispatch(problem, {
    name: `attention_wide_${headSize}_${threads}x${tileKeys}`,
    rows: ROWS,
    loads: [
      loadGroup('Q', problem.q, headSize),
      loadGroup('K', problem.k, headSize),
      loadGroup('V', problem.v, valueSize),
    ],
    body,
  });
}
