import type { DispatchSpec } from '../../plan/lowering.ts';
import { emulatedMatrices, nativeMatrices } from '../subgroup-matrix.ts';
import { attentionDispatch } from './dispatch.ts';
import type { AttentionProblem } from './problem.ts';
import { excludeKeys, halvesCode, packCode, RESCALE_THRESHOLD, SCORE_CONSTANTS } from './shared.ts';

/**
 * Flash attention on subgroup matrices: every subgroup of 32 serves 16 queries of one head, whose f32 results stay in
 * matrix registers; keys and values are staged once for all subgroups of a workgroup. Scores pass through the
 * subgroup's own slice of workgroup memory, where lanes `row` and `row + 16` take the row's softmax and leave its
 * weights as f16 beside them.
 *
 * Results cannot be scaled in registers, so they refer to a maximum of earlier scores and are rescaled (through memory)
 * only when a score exceeds it by 2^8: weights stay within f16 and the sums in f32 lose nothing. Most tiles have no such
 * score, so that no maximum is looked for until the sum of a lane's weights says that one of them may be too large.
 */
export interface MatrixAttentionShape {
  /** Subgroups of a workgroup. */
  subgroups: number;
  /** Keys in a tile: 16 or 32. */
  tileKeys: number;
  /** Tiles of keys and values in workgroup memory: with two, one is filled while the other is used. */
  buffers: 1 | 2;
  /** Plain WGSL in place of subgroup matrices, for tests. */
  emulated?: boolean;
}

/** Rows of a subgroup. */
const ROWS = 16;

interface Sizes {
  /** Sizes padded to whole matrices. */
  head: number;
  value: number;
  /** Pitches in vec4<u32>; odd, against bank conflicts. */
  keyPitch: number;
  valuePitch: number;
  scorePitch: number;
  weightPitch: number;
}

type HeadSizes = Pick<AttentionProblem, 'headSize' | 'valueSize'>;

function sizesOf(problem: HeadSizes, { tileKeys }: MatrixAttentionShape): Sizes {
  const [head, value] = [problem.headSize, problem.valueSize].map((size) => Math.ceil(size / 16) * 16);
  return {
    head: head!,
    value: value!,
    keyPitch: head! / 8 + 1,
    valuePitch: value! / 8 + 1,
    scorePitch: tileKeys / 4 + 1,
    weightPitch: tileKeys / 8 + 1,
  };
}

export function matrixAttentionBytes(problem: HeadSizes, shape: MatrixAttentionShape): number {
  const { keyPitch, valuePitch, scorePitch, weightPitch } = sizesOf(problem, shape);
  const { subgroups, tileKeys, buffers } = shape;
  return (
    16 * (buffers * tileKeys * (keyPitch + valuePitch) + subgroups * ROWS * (scorePitch + weightPitch)) +
    4 +
    4 * subgroups * ROWS
  );
}

export function matrixAttention(problem: AttentionProblem, shape: MatrixAttentionShape): DispatchSpec {
  const { subgroups, tileKeys, buffers, emulated = false } = shape;
  const { headSize, valueSize, causal, keys, mask, scale } = problem;
  const { head, value, keyPitch, valuePitch, scorePitch, weightPitch } = sizesOf(problem, shape);
  const matrices = emulated ? emulatedMatrices() : nativeMatrices;
  const threads = subgroups * 32;
  const rowsPerWorkgroup = subgroups * ROWS;
  const code = [
    halvesCode('Q', problem.q, headSize),
    halvesCode('K', problem.k, headSize),
    halvesCode('V', problem.v, valueSize),
  ];
  const each = (count: number, text: (i: number) => string, separator = '\n    '): string =>
    Array.from({ length: count }, (_, i) => text(i)).join(separator);

  // Values of odd sizes are stored in groups of four (see `attention`).
  const storedValue = Math.ceil(valueSize / 4) * 4;
  const headMatrices = head / 16;
  const valueMatrices = value / 16;
  /** Groups of eight scores that a lane takes of its row. */
  const laneGroups = tileKeys / 16;

  const copy = (
    slots: number,
    name: string,
    groups: number,
    text: (i: number, guard: string) => string,
  ): string =>
    each(slots, (i) => {
      const total = tileKeys * groups;
      return text(i, (i + 1) * threads > total ? `if (${i * threads}u + lane < ${total}u) ` : '');
    });
  const side = buffers === 2 ? 'side' : '0u';
  const keySlots = Math.ceil((tileKeys * head) / 8 / threads);
  const valueSlots = Math.ceil((tileKeys * value) / 8 / threads);
  const fetch = (key0: string): string => `{
    ${copy(keySlots, 'k', head / 8, (i, guard) => `${guard}{ kv${i} = K_halves(k_at + min(${key0} + kr${i}, params.keys - 1u) * params.k_row, kc${i} * 8u); }`)}
    ${copy(valueSlots, 'v', value / 8, (i, guard) => `${guard}{ vv${i} = V_halves(v_at + min(${key0} + vr${i}, params.keys - 1u) * params.v_row, vc${i} * 8u); }`)}
  }`;
  const put = (
    into: string,
  ): string => `${copy(keySlots, 'k', head / 8, (i, guard) => `${guard}{ tile_k[${into}][kr${i} * ${keyPitch}u + kc${i}] = kv${i}; }`)}
    ${copy(valueSlots, 'v', value / 8, (i, guard) => `${guard}{ tile_v[${into}][vr${i} * ${valuePitch}u + vc${i}] = vv${i}; }`)}`;
  const slot = (name: string, i: number, groups: number): string =>
    `let ${name}r${i} = (${i * threads}u + lane) / ${groups}u; let ${name}c${i} = (${i * threads}u + lane) % ${groups}u; var ${name}v${i} = vec4<u32>();`;

  // Emulated operands are addresses: queries then stay in memory of their own.
  const queryAt = (k: number): string => matrices.left(`q${k}`, 'tile_q', 'subgroup', k * 2, keyPitch);
  const perPass = Math.floor(scorePitch / 2);
  const passes = Math.ceil(headMatrices / perPass);
  const loadQueries = emulated
    ? `for (var i = lane_id; i < ${(ROWS * head) / 8}u; i += 32u) {
    let row = i / ${head / 8}u;
    tile_q[subgroup][row * ${keyPitch}u + i % ${head / 8}u] = Q_halves(q_at + min(row0 + row, params.queries - 1u) * params.q_row, (i % ${head / 8}u) * 8u);
  }
  workgroupBarrier();`
    : each(
        passes,
        (pass) => {
          const first = pass * perPass;
          const count = Math.min(perPass, headMatrices - first);
          return `for (var i = lane_id; i < ${ROWS * count * 2}u; i += 32u) {
    let row = i / ${count * 2}u;
    let group = i % ${count * 2}u;
    scores[subgroup][row * ${scorePitch}u + group] = Q_halves(q_at + min(row0 + row, params.queries - 1u) * params.q_row, (${first * 2}u + group) * 8u);
  }
  workgroupBarrier();
  ${each(count, (k) => matrices.left(`q${first + k}`, 'scores', 'subgroup', k * 2, scorePitch), '\n  ')}
  workgroupBarrier();`;
        },
        '\n  ',
      );

  const products = each(
    tileKeys / 16,
    (j) => `{
      ${matrices.accumulator('s')}
      ${each(
        headMatrices,
        (k) =>
          `${emulated ? queryAt(k) : ''} ${matrices.right(`k${k}`, 'tile_k', side, j * 16 * keyPitch + k * 2, keyPitch, 'by column')} ${matrices.multiply('s', `q${k}`, `k${k}`)}`,
        '\n      ',
      )}
      ${matrices.store('s', 'scores', 'subgroup', j * 4, scorePitch)}
    }`,
  );

  const checks = excludeKeys(problem, tileKeys, laneGroups);

  /** Sends results through the slice of scores, as many columns at a time as it has. */
  const perRound = Math.floor(scorePitch / 4);
  const throughMemory = (use: (first: number, count: number) => string, back: boolean): string => {
    const parts: string[] = [];
    for (let first = 0; first < valueMatrices; first += perRound) {
      const count = Math.min(perRound, valueMatrices - first);
      parts.push(`${each(count, (j) => matrices.store(`o${first + j}`, 'scores', 'subgroup', j * 4, scorePitch))}
      workgroupBarrier();
      ${use(first, count)}
      workgroupBarrier();
      ${back ? each(count, (j) => matrices.restore(`o${first + j}`, 'scores', 'subgroup', j * 4, scorePitch)) + '\n      workgroupBarrier();' : ''}`);
    }
    return parts.join('\n      ');
  };
  const rescale = throughMemory(
    (_, count) => `for (var e = lane_id; e < ${ROWS * count * 4}u; e += 32u) {
        let r = e / ${count * 4}u;
        let i = r * ${scorePitch}u + e % ${count * 4}u;
        scores[subgroup][i] = bitcast<vec4<u32>>(bitcast<vec4f>(scores[subgroup][i]) * factors[subgroup * 16u + r]);
      }`,
    true,
  );
  const leave = throughMemory(
    (first, count) => `for (var e = lane_id; e < ${ROWS * count * 4}u; e += 32u) {
      let r = e / ${count * 4}u;
      let group = e % ${count * 4}u;
      let d = ${first * 16}u + group * 4u;
      if (row0 + r < params.queries && d < ${storedValue}u) {
        put(((b * params.queries + row0 + r) * params.heads + h) * ${storedValue}u + d, factors[subgroup * 16u + r] * bitcast<vec4f>(scores[subgroup][r * ${scorePitch}u + group]));
      }
    }`,
    false,
  );

  // Where nothing is added to scores, their scale and the reference are one multiplication and addition.
  const plain = !mask && !causal && keys % tileKeys === 0 && scale > 0;
  const readScores = `${each(
    laneGroups,
    (
      g,
    ) => `var x${g} = ${plain ? '' : 'params.scale * '}bitcast<vec4f>(scores[subgroup][row * ${scorePitch}u + group${g} * 2u]);
      var y${g} = ${plain ? '' : 'params.scale * '}bitcast<vec4f>(scores[subgroup][row * ${scorePitch}u + group${g} * 2u + 1u]);`,
    '\n      ',
  )}
      ${checks}`;
  const weight = (v: string): string =>
    plain ? `exp2(fma(${v}, vec4f(params.scale), vec4f(-reference)))` : `exp2(${v} - reference)`;
  const leaveWeights = each(
    laneGroups,
    (g) => `x${g} = ${weight(`x${g}`)};
      y${g} = ${weight(`y${g}`)};
      { let both = x${g} + y${g}; weights += (both.x + both.y) + (both.z + both.w); }
      tile_p[subgroup][row * ${weightPitch}u + group${g}] = vec4<u32>(${matrices.pack(`x${g}`)}, ${matrices.pack(`y${g}`)});`,
    '\n      ',
  );

  const body = `
${SCORE_CONSTANTS}
${matrices.declare('tile_k', tileKeys * keyPitch, buffers)}
${matrices.declare('tile_v', tileKeys * valuePitch, buffers)}
${matrices.declare('scores', ROWS * scorePitch, subgroups)}
${matrices.declare('tile_p', ROWS * weightPitch, subgroups)}
${emulated ? matrices.declare('tile_q', ROWS * keyPitch, subgroups) : ''}
var<workgroup> exceeded: u32;
var<workgroup> factors: array<f32, ${rowsPerWorkgroup}>;
${matrices.exchangeDeclaration(threads)}
fn put(i: u32, v: vec4f) { Y_store4(i, epilogue(v, i)); }
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32${matrices.entry.parameters}) {
  ${matrices.entry.start}
  let workgroup = flat_workgroup(id, grid);
  if (workgroup >= params.workgroups) { return; }
  let block = workgroup % params.blocks;
  let h = (workgroup / params.blocks) % params.heads;
  let b = workgroup / params.blocks / params.heads;
  let row0 = block * ${rowsPerWorkgroup}u + subgroup * ${ROWS}u;
  let row = lane_id & 15u;
  let first_query = row0;
  let query = row0 + row;
  let q_at = q_base(b, h);
  let k_at = k_base(b, h);
  let v_at = v_base(b, h);
  ${loadQueries}
  ${each(valueMatrices, (j) => matrices.accumulator(`o${j}`), ' ')}
  var reference = NO_MAXIMUM;
  var sum = 0.0;
  ${each(keySlots, (i) => slot('k', i, head / 8), '\n  ')}
  ${each(valueSlots, (i) => slot('v', i, value / 8), '\n  ')}
  let end = ${causal ? `min(params.keys, (block + 1u) * ${rowsPerWorkgroup}u)` : 'params.keys'};
  ${each(laneGroups, (g) => `let group${g} = ${g * 2}u + (lane_id >> 4u);`, '\n  ')}
  ${fetch('0u')}
  ${
    buffers === 2
      ? `var side = 0u;
  ${put('0u')}
  if (${tileKeys}u < end) ${fetch(`${tileKeys}u`)}
  workgroupBarrier();`
      : ''
  }
  for (var key0 = 0u; key0 < end; key0 += ${tileKeys}u) {
    ${
      buffers === 1
        ? `workgroupBarrier();
    ${put('0u')}
    workgroupBarrier();
    if (key0 + ${tileKeys}u < end) ${fetch(`(key0 + ${tileKeys}u)`)}`
        : ''
    }
    ${products}
    workgroupBarrier();
    var looks = key0 == 0u;
    var weights = 0.0;
    if (!looks) {
      ${readScores}
      ${leaveWeights}
      if (weights > ${8 * laneGroups * 2 ** RESCALE_THRESHOLD}.0) { exceeded = 1u; }
    }
    ${buffers === 2 ? `if (key0 + ${tileKeys}u < end) { ${put('(side ^ 1u)')} }` : ''}
    if (!looks) { looks = workgroupUniformLoad(&exceeded) != 0u; }
    if (looks) {
      if (lane == 0u) { exceeded = 0u; }
      ${readScores}
      var pairs = max(x0, y0);
      ${each(laneGroups - 1, (g) => `pairs = max(pairs, max(x${g + 1}, y${g + 1}));`)}
      var highest = ${plain ? 'params.scale * ' : ''}max(max(pairs.x, pairs.y), max(pairs.z, pairs.w));
      highest = max(highest, ${matrices.exchange('highest', 16)});
      var shrink = 1.0;
      if (highest > reference + ${RESCALE_THRESHOLD}.0) {
        if (key0 > 0u) { shrink = exp2(reference - highest); }
        reference = highest;
      }
      weights = 0.0;
      ${leaveWeights}
      sum *= shrink;
      if (lane_id < 16u) { factors[subgroup * 16u + lane_id] = shrink; }
      workgroupBarrier();
      if (key0 > 0u) {
      ${rescale}
      }
    }
    sum += weights;
    ${buffers === 2 ? `if (key0 + ${2 * tileKeys}u < end) ${fetch(`(key0 + ${2 * tileKeys}u)`)}` : ''}
    ${each(
      tileKeys / 16,
      (k) => `{
      ${matrices.left('p', 'tile_p', 'subgroup', k * 2, weightPitch)}
      ${each(
        valueMatrices,
        (j) =>
          `${matrices.right(`v${j}`, 'tile_v', side, k * 16 * valuePitch + j * 2, valuePitch, 'by depth')} ${matrices.multiply(`o${j}`, 'p', `v${j}`)}`,
        '\n      ',
      )}
    }`,
    )}
    ${buffers === 2 ? 'side ^= 1u;' : ''}
  }
  sum += ${matrices.exchange('sum', 16)};
  workgroupBarrier();
  if (lane_id < 16u) { factors[subgroup * 16u + lane_id] = select(0.0, 1.0 / sum, sum > 0.0); }
  ${leave}
}`;
  return attentionDispatch(problem, {
    name: `attention_matrix_${headSize}_${subgroups}x${tileKeys}${buffers === 2 ? '_2' : ''}`,
    rows: rowsPerWorkgroup,
    directives: matrices.directives,
    raw: code.flatMap(({ raw }) => raw),
    loads: [packCode(emulated), ...code.map(({ functions }) => functions)],
    body,
  });
}
