import { u32 } from '../shader.ts';
import { batchAddress } from './batch-address.ts';
import { CHUNK, runsOf } from './pack-integers.ts';
import type { GemmProblem, PackedIntegers, PreparedB } from './problem.ts';
import type { BSourceCode, GroupWidth } from './source-code.ts';

/**
 * Reads of a weight that stays in integers: `BPieceW` is what a column has of them in W depths, with its scale;
 * `b_unpackW` makes floats (W = 4) or halves (W = 8) of it. Kernels fetch pieces early and unpack them late.
 *
 * @param native whether WGSL's `f16` may be used: two halves are then made with one subtraction, from the integer in
 *   the mantissa of 1024
 */
export function integerSource(
  problem: GemmProblem,
  b: PreparedB,
  integers: PackedIntegers,
  tileDepth: number,
  width: GroupWidth,
  native: boolean,
): BSourceCode {
  const { bits, scale, zero, run } = integers;
  const { batchOffset, params } = batchAddress('b', problem.batch, b.batchStrides);
  const words = width === 8 ? bits / 4 : 1;
  const runs = runsOf(problem.depth, run);
  const perColumn = zero === undefined ? 2 : 1;
  const scales = batchAddress('s', problem.batch, b.batchStrides.length > 0 ? [runs * b.columns] : []);
  const row = run === Infinity ? '' : ` + k / ${run}u * params.b_columns`;
  const beyond = problem.depth % tileDepth === 0 ? '' : ' || k >= params.depth';
  const names = Array.from({ length: words }, (_, i) => `q${i}`);
  const fetched = names.map((_, i) => {
    const text = `Q_load(word${i > 0 ? ` + ${i}u` : ''})`;
    // Four integers of 4 bits are half a word.
    return width === 4 && bits === 4 ? `(${text} >> (2u * (k & 4u)))` : text;
  });
  const middle = zero === undefined ? 'p.z' : `${zero}.0`;
  return {
    inputs: { Q: b.view, S: scale },
    params: { ...params, ...scales.params, b_columns: u32(b.columns), depth: u32(problem.depth) },
    functions: `
struct BPiece${width} { ${names.map((name) => `${name}: u32, `).join('')}s: f32${zero === undefined ? ', z: f32' : ''} }
fn b_fetch${width}(batch: u32, k: u32, n: u32) -> BPiece${width} {
  if (n >= params.b_columns${beyond}) { return BPiece${width}(); }
  let word = ((k / ${CHUNK}u) * params.b_columns + n) * ${bits}u + (k % ${CHUNK}u) / ${32 / bits}u${batchOffset};
  let at = (n${row}${scales.batchOffset})${perColumn === 2 ? ' * 2u' : ''};
  return BPiece${width}(${fetched.join(', ')}, S_load(at)${perColumn === 2 ? ', S_load(at + 1u)' : ''});
}
${width === 4 ? unpack4(bits, middle) : native ? nativeUnpack8(bits, middle) : plainUnpack8(bits, middle)}`,
  };
}

const shifts = { 4: [0, 16, 4, 20], 8: [0, 16, 8, 24] } as const;

function floats(word: string, bits: 4 | 8): string {
  const [a, b, c, d] = shifts[bits].map((shift) => (shift === 0 ? word : `${word} >> ${shift}u`));
  return `vec4f(vec4u(${a}, ${b}, ${c}, ${d}) & vec4u(${2 ** bits - 1}u))`;
}

function unpack4(bits: 4 | 8, middle: string): string {
  return `fn b_unpack4(p: BPiece4) -> vec4f { return (${floats('p.q0', bits)} - ${middle}) * p.s; }`;
}

function plainUnpack8(bits: 4 | 8, middle: string): string {
  const second = bits === 4 ? '(p.q0 >> 8u)' : 'p.q1';
  return `fn b_unpack8(p: BPiece8) -> vec4<u32> {
  return vec4<u32>(
    pack_halves((${floats('p.q0', bits)} - ${middle}) * p.s),
    pack_halves((${floats(second, bits)} - ${middle}) * p.s));
}`;
}

function nativeUnpack8(bits: 4 | 8, middle: string): string {
  const mask = bits === 4 ? '0x000f000fu' : '0x00ff00ffu';
  const pairs =
    bits === 4
      ? ['p.q0', 'p.q0 >> 4u', 'p.q0 >> 8u', 'p.q0 >> 12u']
      : ['p.q0', 'p.q0 >> 8u', 'p.q1', 'p.q1 >> 8u'];
  return `fn b_halves(w: u32, middle: vec2<f16>, scale: vec2<f16>) -> u32 {
  return bitcast<u32>((bitcast<vec2<f16>>((w & ${mask}) | 0x64006400u) - middle) * scale);
}
fn b_unpack8(p: BPiece8) -> vec4<u32> {
  let middle = vec2<f16>(f16(1024.0 + ${middle}));
  let scale = vec2<f16>(f16(p.s));
  return vec4<u32>(${pairs.map((pair) => `b_halves(${pair}, middle, scale)`).join(', ')});
}`;
}
