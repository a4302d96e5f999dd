import type { TensorView } from '../../plan/plan.ts';
import { expandView } from '../../plan/view.ts';
import { scalarOf, u32, type Param } from '../shader.ts';
import type { AttentionProblem } from './problem.ts';

// What the attention kernels share: where operands lie, masks, and the numbers that stand for "no key".

/**
 * Scores are kept in units of log2, so that exp2 serves. Excluded ones are finite: infinities are not portable in WGSL.
 * EXCLUDED lies below every running maximum, which starts at NO_MAXIMUM, so its weight is exactly 0. A row without any
 * key has a sum of 0 and gives zeros, as torch's scaled_dot_product_attention does. Additive masks are cut at
 * LOWEST_MASK: rows masked by the lowest float throughout still average, as a plain softmax would.
 */
export const SCORE_CONSTANTS = `
const EXCLUDED = -3.3e38;
const NO_MAXIMUM = -3.0e38;
const LOWEST_MASK = -1.0e38;
const LOG2E = 1.4426950408889634;`;

/** Where results stay in matrix registers, a row's maximum may grow by this power of two before they are rescaled. */
export const RESCALE_THRESHOLD = 8;

/** Offsets of a head's queries, keys, values and mask: `NAME_base(b, h)`; and the params they read. */
export function headAddresses(problem: AttentionProblem): {
  functions: string;
  params: Record<string, Param>;
} {
  const { q, k, v, heads, keyHeads } = problem;
  const share = heads / keyHeads;
  const params: Record<string, Param> = {};
  const address = (name: string, view: TensorView, head: string): string => {
    params[`${name}_offset`] = u32(view.offset);
    params[`${name}_batch`] = u32(view.strides[0]!);
    params[`${name}_head`] = u32(view.strides[1]!);
    params[`${name}_row`] = u32(view.strides[2]!);
    return `fn ${name}_base(b: u32, h: u32) -> u32 { return params.${name}_offset + b * params.${name}_batch + ${head} * params.${name}_head; }`;
  };
  return {
    functions: [
      address('q', q, 'h'),
      address('k', k, share === 1 ? 'h' : `(h / ${share}u)`),
      address('v', v, share === 1 ? 'h' : `(h / ${share}u)`),
    ].join('\n'),
    params,
  };
}

/** `masked(score, at) -> f32` with `at` from `mask_at(b, h, row, key)`; the score as it is where there is no mask. */
export function maskCode(problem: AttentionProblem): {
  inputs: Record<string, TensorView>;
  functions: string;
  params: Record<string, Param>;
} {
  const { mask, batch, heads, queries, keys } = problem;
  if (!mask) return { inputs: {}, functions: '', params: {} };
  const view = expandView(mask, [batch, heads, queries, keys]);
  const additive = scalarOf(mask.storage) === 'f32';
  return {
    inputs: { M: view },
    params: {
      m_offset: u32(view.offset),
      m_batch: u32(view.strides[0]!),
      m_head: u32(view.strides[1]!),
      m_row: u32(view.strides[2]!),
      m_key: u32(view.strides[3]!),
    },
    functions: `
fn masked(score: f32, b: u32, h: u32, row: u32, key: u32) -> f32 {
  let i = params.m_offset + b * params.m_batch + h * params.m_head + row * params.m_row + key * params.m_key;
  ${
    additive
      ? `let m = M_load(i);
  return select(max(score + LOG2E * max(m, LOWEST_MASK), EXCLUDED), EXCLUDED, bitcast<u32>(m) == 0xff800000u);`
      : `return select(score, EXCLUDED, M_load(i) == 0);`
  }
}`,
  };
}

/** WGSL expression for four neighbouring elements from `index` on, of which those at `d` and beyond `size` are 0. */
export function loadGroup(name: string, view: TensorView, size: number): string {
  const strides = [view.offset, ...view.strides.slice(0, -1)];
  if (size % 4 === 0 && strides.every((stride) => stride % 4 === 0)) {
    return `fn ${name}_group(base: u32, d: u32) -> vec4f { if (d >= ${size}u) { return vec4f(); } return ${name}_load4(base + d); }`;
  }
  const element = (e: number): string =>
    `if (d + ${e}u < ${size}u) { v[${e}] = ${name}_load(base + d + ${e}u); }`;
  return `fn ${name}_group(base: u32, d: u32) -> vec4f {
  var v = vec4f();
  ${[0, 1, 2, 3].map(element).join('\n  ')}
  return v;
}`;
}

/** `fn NAME_halves(base, d) -> vec4<u32>`: eight neighbouring elements as halves, zeros beyond `size`. */
export function halvesCode(
  name: string,
  view: TensorView,
  size: number,
): { functions: string; raw: readonly string[] } {
  const strides = [view.offset, ...view.strides.slice(0, -1), size];
  if (view.storage === 'f16' && strides.every((stride) => stride % 8 === 0)) {
    return {
      functions: `fn ${name}_halves(base: u32, d: u32) -> vec4<u32> { if (d >= ${size}u) { return vec4<u32>(); } return ${name}[(base + d) >> 3u]; }`,
      raw: [name],
    };
  }
  return {
    functions: `${loadGroup(name, view, size)}
fn ${name}_halves(base: u32, d: u32) -> vec4<u32> { return vec4<u32>(pack_halves(${name}_group(base, d)), pack_halves(${name}_group(base, d + 4u))); }`,
    raw: [],
  };
}

/**
 * Statements that exclude keys beyond the last, and those that a mask or causality hides, from the scores of eight keys:
 * vec4s `xG` and `yG` of keys `key0 + 8 * groupG …`, for each `G` below `groups`. In scope: `b`, `h`, `key0`, the row's
 * query as `query`, and `first_query`, the first of those that the branch's lanes have.
 */
export function excludeKeys(problem: AttentionProblem, tileKeys: number, groups: number): string {
  const { causal, keys, mask } = problem;
  const ragged = keys % tileKeys !== 0;
  const oneByOne = (g: number): string =>
    Array.from({ length: 8 }, (_, e) => {
      const at = `${e < 4 ? 'x' : 'y'}${g}.${'xyzw'[e % 4]!}`;
      const key = `(key0 + group${g} * 8u + ${e}u)`;
      const score = mask
        ? `masked(${at}, b, h, min(query, params.queries - 1u), min(${key}, params.keys - 1u))`
        : at;
      const excluded = [
        ...(ragged ? [`${key} >= params.keys`] : []),
        ...(causal ? [`${key} > query`] : []),
      ].join(' || ');
      return `${at} = ${excluded ? `select(${score}, EXCLUDED, ${excluded})` : score};`;
    }).join(' ');
  const last = causal ? 'min(params.keys, first_query + 1u)' : 'params.keys';
  return Array.from({ length: groups }, (_, g) => {
    if (mask) return oneByOne(g);
    return ragged || causal ? `if (key0 + group${g} * 8u + 8u > ${last}) { ${oneByOne(g)} }` : '';
  }).join('\n    ');
}

/** `fn pack_halves(v: vec4f) -> vec2<u32>`. */
export function packCode(emulated: boolean): string {
  return emulated
    ? 'fn pack_halves(v: vec4f) -> vec2<u32> { return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)); }'
    : 'fn pack_halves(v: vec4f) -> vec2<u32> { return bitcast<vec2<u32>>(vec4<f16>(v)); }';
}
