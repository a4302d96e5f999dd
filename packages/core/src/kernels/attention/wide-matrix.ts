import type { DispatchSpec } from '../../plan/lowering.ts';
import { emulatedMatrices, nativeMatrices } from '../subgroup-matrix.ts';
import { attentionDispatch } from './dispatch.ts';
import type { AttentionProblem } from './problem.ts';
import { excludeKeys, halvesCode, packCode, RESCALE_THRESHOLD, SCORE_CONSTANTS } from './shared.ts';

/**
 * Flash attention on subgroup matrices for heads too large for the registers of one subgroup (512 in VAEs): the
 * subgroups of a workgroup share its queries, and each has a slice of the head. It multiplies its slice of queries and
 * keys, the workgroup adds the partial scores up in memory and takes the softmax, and each multiplies the weights with
 * its slice of the values, whose f32 results stay in its registers. So keys and values pass through memory of one
 * subgroup alone, in the same slab after each other.
 */
export interface WideMatrixShape {
  /** Subgroups, each with a slice of the head. */
  slices: number;
  /** Queries of a workgroup: a multiple of 16. */
  rows: number;
  /** Keys in a tile: 16 or 32. */
  tileKeys: number;
  /** Plain WGSL in place of subgroup matrices, for tests. */
  emulated?: boolean;
}

interface Sizes {
  /** Columns of a slice, whole matrices. */
  head: number;
  value: number;
  /** Pitches in vec4<u32>; odd, against bank conflicts. */
  headPitch: number;
  valuePitch: number;
  scorePitch: number;
  weightPitch: number;
  /** vec4<u32> of a slab. */
  slab: number;
}

function sizesOf(problem: AttentionProblem, { slices, rows, tileKeys }: WideMatrixShape): Sizes {
  const [head, value] = [problem.headSize, problem.valueSize].map(
    (size) => 16 * Math.ceil(size / 16 / slices),
  );
  const headPitch = head! / 8 + 1;
  const valuePitch = value! / 8 + 1;
  const scorePitch = tileKeys / 4 + 1;
  return {
    head: head!,
    value: value!,
    headPitch,
    valuePitch,
    scorePitch,
    weightPitch: tileKeys / 8 + 1,
    slab: Math.max(tileKeys * headPitch, tileKeys * valuePitch, rows * scorePitch),
  };
}

export function wideMatrixBytes(problem: AttentionProblem, shape: WideMatrixShape): number {
  const { slab, weightPitch } = sizesOf(problem, shape);
  return 16 * (shape.slices * slab + shape.rows * weightPitch) + 4 + 4 * shape.rows;
}

export function wideMatrixThreads({ slices }: WideMatrixShape): number {
  return 32 * slices;
}

export function wideMatrixAttention(problem: AttentionProblem, shape: WideMatrixShape): DispatchSpec {
  const { slices, rows, tileKeys, emulated = false } = shape;
  const { headSize, valueSize, causal } = problem;
  const { head, value, headPitch, valuePitch, scorePitch, weightPitch, slab } = sizesOf(problem, shape);
  const matrices = emulated ? emulatedMatrices() : nativeMatrices;
  const threads = wideMatrixThreads(shape);
  const code = [
    halvesCode('Q', problem.q, headSize),
    halvesCode('K', problem.k, headSize),
    halvesCode('V', problem.v, valueSize),
  ];
  const each = (count: number, text: (i: number) => string, separator = '\n    '): string =>
    Array.from({ length: count }, (_, i) => text(i)).join(separator);

  const rowMatrices = rows / 16;
  const headMatrices = head / 16;
  const valueMatrices = value / 16;
  const keyMatrices = tileKeys / 16;
  /** Threads that share a row of scores, eight keys each. */
  const rowThreads = tileKeys / 8;
  const scoring = rows * rowThreads;

  /** A subgroup copies `tileKeys` rows of its slice. */
  const slots = (size: number): number => (tileKeys * size) / 8 / 32;
  const slot = (name: string, i: number, size: number): string =>
    `let ${name}r${i} = (${i * 32}u + lane_id) / ${size / 8}u; let ${name}c${i} = (${i * 32}u + lane_id) % ${size / 8}u; var ${name}v${i} = vec4<u32>();`;
  const fetchKeys = (key0: string): string =>
    each(
      slots(head),
      (i) =>
        `kv${i} = K_halves(k_at + min(${key0} + kr${i}, params.keys - 1u) * params.k_row, subgroup * ${head}u + kc${i} * 8u);`,
    );
  const fetchValues = (key0: string): string =>
    each(
      slots(value),
      (i) =>
        `vv${i} = V_halves(v_at + min(${key0} + vr${i}, params.keys - 1u) * params.v_row, subgroup * ${value}u + vc${i} * 8u);`,
    );

  // Emulated operands are addresses: queries then stay in memory of their own.
  const loadQueries = each(
    rowMatrices,
    (i) => {
      const [tile, first] = emulated ? ['tile_q', i * 16 * headPitch] : ['slab', 0];
      return `workgroupBarrier();
  for (var i = lane_id; i < ${(16 * head) / 8}u; i += 32u) {
    let r = i / ${head / 8}u;
    ${tile}[subgroup][${first}u + r * ${headPitch}u + i % ${head / 8}u] = Q_halves(q_at + min(row0 + ${i * 16}u + r, params.queries - 1u) * params.q_row, subgroup * ${head}u + (i % ${head / 8}u) * 8u);
  }
  workgroupBarrier();
  ${each(headMatrices, (k) => matrices.left(`q${i}_${k}`, tile, 'subgroup', first + k * 2, headPitch), '\n  ')}`;
    },
    '\n  ',
  );
  const scores = `${each(rowMatrices, (i) => each(keyMatrices, (j) => matrices.accumulator(`s${i}_${j}`), ' '))}
    ${each(keyMatrices, (j) =>
      each(
        headMatrices,
        (k) => `{
      ${matrices.right('k', 'slab', 'subgroup', j * 16 * headPitch + k * 2, headPitch, 'by column')}
      ${each(rowMatrices, (i) => matrices.multiply(`s${i}_${j}`, `q${i}_${k}`, 'k'), ' ')}
    }`,
      ),
    )}
    workgroupBarrier();
    ${each(rowMatrices, (i) =>
      each(keyMatrices, (j) =>
        matrices.store(`s${i}_${j}`, 'slab', 'subgroup', i * 16 * scorePitch + j * 4, scorePitch),
      ),
    )}`;
  const results = each(
    keyMatrices,
    (k) => `{
      ${each(rowMatrices, (i) => matrices.left(`p${i}`, 'weights', '0u', i * 16 * weightPitch + k * 2, weightPitch))}
      ${each(
        valueMatrices,
        (
          j,
        ) => `{ ${matrices.right('v', 'slab', 'subgroup', k * 16 * valuePitch + j * 2, valuePitch, 'by depth')}
      ${each(rowMatrices, (i) => matrices.multiply(`o${i}_${j}`, `p${i}`, 'v'), ' ')} }`,
        '\n      ',
      )}
    }`,
  );

  /** Sends results through the slab, some matrices of 16 rows at a time, with rows padded by a vec4. */
  const beside = Math.min(valueMatrices, Math.floor((slab / 16 - 1) / 4));
  const passPitch = 4 * beside + 1;
  const throughMemory = (use: (i: number, first: number, count: number) => string, back: boolean): string =>
    each(rowMatrices, (i) =>
      each(Math.ceil(valueMatrices / beside), (part) => {
        const first = part * beside;
        const count = Math.min(beside, valueMatrices - first);
        return `${each(count, (j) => matrices.store(`o${i}_${first + j}`, 'slab', 'subgroup', j * 4, passPitch))}
    workgroupBarrier();
    for (var e = lane_id; e < ${16 * count * 4}u; e += 32u) {
      let r = e / ${count * 4}u;
      let at = r * ${passPitch}u + e % ${count * 4}u;
      ${use(i, first, count)}
    }
    workgroupBarrier();
    ${back ? each(count, (j) => matrices.restore(`o${i}_${first + j}`, 'slab', 'subgroup', j * 4, passPitch)) + '\n    workgroupBarrier();' : ''}`;
      }),
    );
  const rescale = throughMemory(
    (i) =>
      `slab[subgroup][at] = bitcast<vec4<u32>>(bitcast<vec4f>(slab[subgroup][at]) * factors[${i * 16}u + r]);`,
    true,
  );
  // Values of odd sizes are stored in groups of four (see `attention`).
  const storedValue = Math.ceil(valueSize / 4) * 4;
  const leave = throughMemory(
    (i, first, count) => `let q = row0 + ${i * 16}u + r;
      let d = subgroup * ${value}u + ${first * 16}u + (e % ${count * 4}u) * 4u;
      if (q < params.queries && d < ${storedValue}u) {
        put(((b * params.queries + q) * params.heads + h) * ${storedValue}u + d, factors[${i * 16}u + r] * bitcast<vec4f>(slab[subgroup][at]));
      }`,
    false,
  );
  const over = (name: string, combine: (a: string, b: string) => string): string =>
    each(
      Math.log2(rowThreads),
      (step) => `${name} = ${combine(name, matrices.exchange(name, 2 ** step))};`,
      ' ',
    );

  const body = `
${SCORE_CONSTANTS}
${matrices.declare('slab', slab, slices)}
${matrices.declare('weights', rows * weightPitch, 1)}
${emulated ? matrices.declare('tile_q', rows * headPitch, slices) : ''}
var<workgroup> rescaling: u32;
var<workgroup> factors: array<f32, ${rows}>;
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
  let row0 = block * ${rows}u;
  let q_at = q_base(b, h);
  let k_at = k_base(b, h);
  let v_at = v_base(b, h);
  // Threads beyond the scores repeat what others do, so that all take part in exchanges.
  let row = (lane / ${rowThreads}u) % ${rows}u;
  let group0 = lane % ${rowThreads}u;
  let query = row0 + row;
  let first_query = row0;
  ${loadQueries}
  ${each(rowMatrices, (i) => each(valueMatrices, (j) => matrices.accumulator(`o${i}_${j}`), ' '), '\n  ')}
  var reference = NO_MAXIMUM;
  var sum = 0.0;
  ${each(slots(head), (i) => slot('k', i, head), '\n  ')}
  ${each(slots(value), (i) => slot('v', i, value), '\n  ')}
  let end = ${causal ? `min(params.keys, (block + 1u) * ${rows}u)` : 'params.keys'};
  ${fetchKeys('0u')}
  ${fetchValues('0u')}
  for (var key0 = 0u; key0 < end; key0 += ${tileKeys}u) {
    let next = key0 + ${tileKeys}u;
    workgroupBarrier();
    ${each(slots(head), (i) => `slab[subgroup][kr${i} * ${headPitch}u + kc${i}] = kv${i};`)}
    workgroupBarrier();
    if (next < end) { ${fetchKeys('next')} }
    ${scores}
    workgroupBarrier();
    var x0 = vec4f();
    var y0 = vec4f();
    ${each(
      slices,
      (s) =>
        `x0 += bitcast<vec4f>(slab[${s}][row * ${scorePitch}u + group0 * 2u]); y0 += bitcast<vec4f>(slab[${s}][row * ${scorePitch}u + group0 * 2u + 1u]);`,
    )}
    x0 *= params.scale;
    y0 *= params.scale;
    ${excludeKeys(problem, tileKeys, 1)}
    let pairs = max(x0, y0);
    var highest = max(max(pairs.x, pairs.y), max(pairs.z, pairs.w));
    ${over('highest', (a, b) => `max(${a}, ${b})`)}
    var shrink = 1.0;
    if (highest > reference + ${RESCALE_THRESHOLD}.0) {
      if (key0 > 0u) { shrink = exp2(reference - highest); rescaling = 1u; }
      reference = highest;
    }
    x0 = exp2(x0 - reference);
    y0 = exp2(y0 - reference);
    if (lane < ${scoring}u) { weights[0][row * ${weightPitch}u + group0] = vec4<u32>(${matrices.pack('x0')}, ${matrices.pack('y0')}); }
    let both = x0 + y0;
    var added = (both.x + both.y) + (both.z + both.w);
    ${over('added', (a, b) => `${a} + ${b}`)}
    sum = sum * shrink + added;
    let any_rescaling = workgroupUniformLoad(&rescaling);
    if (any_rescaling != 0u) {
      if (lane == 0u) { rescaling = 0u; }
      if (lane < ${scoring}u && group0 == 0u) { factors[row] = shrink; }
      ${rescale}
    }
    ${each(slots(value), (i) => `slab[subgroup][vr${i} * ${valuePitch}u + vc${i}] = vv${i};`)}
    workgroupBarrier();
    if (next < end) { ${fetchValues('next')} }
    ${results}
  }
  workgroupBarrier();
  if (lane < ${scoring}u && group0 == 0u) { factors[row] = select(0.0, 1.0 / sum, sum > 0.0); }
  ${leave}
}`;
  return attentionDispatch(problem, {
    name: `attention_wide_matrix_${headSize}_${slices}x${rows}x${tileKeys}`,
    rows,
    directives: matrices.directives,
    raw: code.flatMap(({ raw }) => raw),
    loads: [packCode(emulated), ...code.map(({ functions }) => functions)],
    body,
  });
}
