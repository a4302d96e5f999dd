import { u32, type Param } from '../shader.ts';
import { batchAddress } from './batch-address.ts';
import { copies } from './copies.ts';
import { CHUNK_WORDS, chunkDepth, greatestCommonDivisor, runsOf } from './pack-integers.ts';
import { range, type GemmProblem, type PackedIntegers, type PreparedB } from './problem.ts';
import type { BSourceCode, GroupWidth, SourceCode } from './source-code.ts';

/**
 * Reads of a weight that stays in integers, four depths of a column at a time, for kernels that go through the depth in
 * small steps: `BPiece4` is a word with its scale.
 */
export function integerSource(
  problem: GemmProblem,
  b: PreparedB,
  integers: PackedIntegers,
  tileDepth: number,
): BSourceCode {
  const { bits, scale, zero, run } = integers;
  const { batchOffset, params } = batchAddress('b', problem.batch, b.batchStrides);
  const chunk = chunkDepth(bits);
  const paired = zero === undefined;
  const scales = batchAddress('s', problem.batch, scaleStrides(problem, b, integers));
  const row = run === Infinity ? '' : ` + k / ${run}u * params.s_pitch`;
  const beyond = problem.depth % tileDepth === 0 ? '' : ' || k >= params.depth';
  // Four integers of 4 bits are half a word.
  const word = bits === 4 ? '(Q_load(word) >> (2u * (k & 4u)))' : 'Q_load(word)';
  return {
    inputs: { Q: b.view, S: scale },
    params: { ...params, ...scales.params, ...integerParams(problem, b, integers) },
    functions: `
struct BPiece4 { q: u32, s: f32${paired ? ', z: f32' : ''} }
fn b_fetch4(batch: u32, k: u32, n: u32) -> BPiece4 {
  if (n >= params.b_columns${beyond}) { return BPiece4(); }
  let word = ((k / ${chunk}u) * params.b_columns + n) * ${CHUNK_WORDS}u + (k % ${chunk}u) / ${32 / bits}u${batchOffset};
  let at = n${paired ? ' * 2u' : ''}${row}${scales.batchOffset};
  return BPiece4(${word}, S_load(at)${paired ? ', S_load(at + 1u)' : ''});
}
fn b_unpack4(p: BPiece4) -> vec4f { return (${floats('p.q', bits)} - ${paired ? 'p.z' : `${zero}.0`}) * p.s; }`,
  };
}

/**
 * The same in pieces of 16 bytes, or of as many as a tile is deep, for kernels whose threads take the same columns at
 * every step:
 * - `struct BColumn`, `fn b_column(batch: u32, n: u32, k: u32) -> BColumn`: what is known of column `n` before the loop
 *   over depth, `k` being where the piece begins in the tile, a multiple of `span`;
 * - `struct BStep`, `fn b_step(k0: u32) -> BStep`: what a tile has in common, `k0` being its first depth;
 * - `struct BPiece`, `fn b_fetch(column: BColumn, step: BStep) -> BPiece`: what comes from memory. Beyond the depth A has
 *   zeros, so here is anything finite.
 */
export interface IntegerPieces extends SourceCode {
  /** Depths of a piece. */
  span: number;
  /** WGSL of the group'th four depths of a piece as `vec4f`, or eight as halves in `vec4<u32>`. */
  group(column: string, piece: string, group: number): string;
  /** WGSL of the four depths from `k` on, a multiple of 4 and an expression, of a piece whose depths share a scale. */
  groupAt(column: string, piece: string, k: string): string;
  /** Whether all do. */
  oneScale: boolean;
}

/**
 * How the threads of a workgroup share the pieces of a tile: neighbouring ones take neighbouring columns, whose pieces lie beside
 * each other. Copy `i` of a thread is of column `nbI` of the tile, from depth `kbI` of it on, with its `BColumn` in `cbI` and its
 * piece in `vbI`.
 */
export function pieceCopies(
  { span }: IntegerPieces,
  { tileColumns, tileDepth }: { tileColumns: number; tileDepth: number },
  threads: number,
  sets: readonly string[] = [''],
): { slots: { guard: string; start: string }[]; fetch: (k0: string, set?: string) => string[] } {
  const slots = copies((tileColumns * tileDepth) / span, threads).map(({ guard }, i) => ({
    guard,
    start: `let nb${i} = (${i * threads}u + lane) % ${tileColumns}u;
  let kb${i} = (${i * threads}u + lane) / ${tileColumns}u * ${span}u;
  let cb${i} = b_column(batch, min(n0 + nb${i}, params.b_columns - 1u), kb${i});
  ${sets.map((set) => `var vb${set}${i} = BPiece();`).join(' ')}`,
  }));
  return {
    slots,
    fetch: (k0, set = '') => [
      `let b_tile = b_step(${k0});`,
      ...slots.map(({ guard }, i) => `${guard}{ vb${set}${i} = b_fetch(cb${i}, b_tile); }`),
    ],
  };
}

/**
 * @param tileDepth a multiple of the depths of a chunk, or a divisor of them
 * @param native whether WGSL's `f16` may be used for halves: two are then made with one subtraction, from the integer in
 *   the mantissa of 1024
 */
export function integerPieces(
  problem: GemmProblem,
  b: PreparedB,
  integers: PackedIntegers,
  tileDepth: number,
  width: GroupWidth,
  native: boolean,
): IntegerPieces {
  const { bits, scale, zero, run } = integers;
  const chunk = chunkDepth(bits);
  const span = Math.min(chunk, tileDepth);
  const words = (span * bits) / 32;
  const paired = zero === undefined;
  const whole = run === Infinity;
  /** Depths of a piece that share a scale. */
  const shared = whole ? span : greatestCommonDivisor(span, run);
  const scales = range(span / shared);
  const halves = width === 8 && native;
  const type = halves ? 'f16' : 'f32';
  const load = (at: string): string => (halves ? `S[(${at}) >> 2u][(${at}) & 3u]` : `S_load(${at})`);
  const fields = scales.flatMap((e) => [`s${e}: ${type}`, ...(paired ? [`z${e}: ${type}`] : [])]);
  const loads = scales.flatMap((e) => [load(`at${e}`), ...(paired ? [load(`at${e} + 1u`)] : [])]);
  const strides = b.batchStrides.map((stride) => stride / CHUNK_WORDS);
  const { batchOffset, params } = batchAddress('b', problem.batch, strides);
  const sBatch = batchAddress('s', problem.batch, scaleStrides(problem, b, integers));
  const first = `n${paired ? ' * 2u' : ''}${sBatch.batchOffset}`;
  const ends = problem.depth % tileDepth === 0;
  // Then the row of a scale is that of the tile and one that a piece has in every tile.
  const regular =
    (run % tileDepth === 0 || tileDepth % run === 0) &&
    (run % span === 0 || span % run === 0) &&
    (scales.length === 1 || problem.depth % span === 0);
  const rows = scales.map((e) =>
    regular
      ? `let at${e} = column.scale + step.scale${e > 0 ? ` + ${e}u * params.s_pitch` : ''};`
      : `let at${e} = column.scale + min((step.k0 + column.k + ${e * shared}u) / ${run}u, (params.depth - 1u) / ${run}u) * params.s_pitch;`,
  );
  // Half a chunk's words, where tiles are no deeper.
  const fetched =
    span === chunk
      ? 'Q[column.chunk + step.chunk]'
      : `vec${words}<u32>(${range(words)
          .map((w) => `Q[column.chunk + step.chunk][step.k0 % ${chunk}u / ${32 / bits}u + ${w}u]`)
          .join(', ')})`;
  const column = whole
    ? `let at0 = ${first};
  return BColumn(k, chunk, ${loads.join(', ')});`
    : `return BColumn(k, chunk, ${first}${regular ? ` + k / ${run}u * params.s_pitch` : ''});`;
  return {
    span,
    inputs: { Q: b.view, S: scale },
    raw: ['Q'],
    params: { ...params, ...sBatch.params, ...integerParams(problem, b, integers) },
    oneScale: scales.length === 1,
    groupAt(column, piece, k) {
      const holder = whole ? column : piece;
      const word = `${piece}.q[${k} / ${32 / bits}u]`;
      const operands = `${holder}.s0${paired ? `, ${holder}.z0` : ''}`;
      return `b_group(${bits === 4 ? `(${word} >> (${k} % 8u * 2u))` : word}, ${operands})`;
    },
    group(column, piece, group) {
      const perGroup = (width * bits) / 32;
      const at = whole ? 0 : Math.floor((group * width) / shared);
      const holder = whole ? column : piece;
      const operands = [`${holder}.s${at}`, ...(paired ? [`${holder}.z${at}`] : [])].join(', ');
      if (perGroup === 2)
        return `b_group(${piece}.q[${2 * group}], ${piece}.q[${2 * group + 1}], ${operands})`;
      const word = `${piece}.q[${Math.floor(group * perGroup)}]`;
      return `b_group(${perGroup < 1 && group % 2 === 1 ? `${word} >> 8u` : word}, ${operands})`;
    },
    functions: `
struct BColumn { k: u32, chunk: u32, ${whole ? fields.join(', ') : 'scale: u32'} }
struct BStep { k0: u32, chunk: u32${whole ? '' : ', scale: u32'} }
struct BPiece { q: vec${words}<u32>${whole ? '' : `, ${fields.join(', ')}`} }
fn b_column(batch: u32, n: u32, k: u32) -> BColumn {
  let chunk = k / ${chunk}u * params.b_columns + n${batchOffset};
  ${column}
}
fn b_step(k0: u32) -> BStep {
  return BStep(k0, k0 / ${chunk}u * params.b_columns${whole ? '' : `, k0 / ${run}u * params.s_pitch`});
}
fn b_fetch(column: BColumn, step: BStep) -> BPiece {
  ${ends ? '' : 'if (step.k0 + column.k >= params.depth) { return BPiece(); }'}
  ${whole ? '' : rows.join('\n  ')}
  return BPiece(${[fetched, ...(whole ? [] : loads)].join(', ')});
}
${width === 4 ? floatGroup(bits, zero) : halves ? nativeGroup(bits, zero) : plainGroup(bits, zero)}`,
  };
}

/** Elements between the scales of one group and the next. */
function scaleStrides(problem: GemmProblem, b: PreparedB, { run, zero }: PackedIntegers): number[] {
  return b.batchStrides.length > 0
    ? [runsOf(problem.depth, run) * b.columns * (zero === undefined ? 2 : 1)]
    : [];
}

function integerParams(
  problem: GemmProblem,
  b: PreparedB,
  { zero }: PackedIntegers,
): Record<'b_columns' | 's_pitch' | 'depth', Param> {
  return {
    b_columns: u32(b.columns),
    s_pitch: u32(b.columns * (zero === undefined ? 2 : 1)),
    depth: u32(problem.depth),
  };
}

const shifts = { 4: [0, 16, 4, 20], 8: [0, 16, 8, 24] } as const;

/** The first four integers of a word as floats. */
function floats(word: string, bits: 4 | 8): string {
  const [a, b, c, d] = shifts[bits].map((shift) => (shift === 0 ? word : `${word} >> ${shift}u`));
  return `vec4f(vec4u(${a}, ${b}, ${c}, ${d}) & vec4u(${2 ** bits - 1}u))`;
}

function floatGroup(bits: 4 | 8, zero: number | undefined): string {
  return zero === undefined
    ? `fn b_group(w: u32, s: f32, z: f32) -> vec4f { return (${floats('w', bits)} - z) * s; }`
    : `fn b_group(w: u32, s: f32) -> vec4f { return (${floats('w', bits)} - ${zero}.0) * s; }`;
}

function plainGroup(bits: 4 | 8, zero: number | undefined): string {
  const [parameters, second] = bits === 4 ? ['w: u32', '(w >> 8u)'] : ['w: u32, w2: u32', 'w2'];
  const middle = zero === undefined ? 'z' : `${zero}.0`;
  return `fn b_group(${parameters}, s: f32${zero === undefined ? ', z: f32' : ''}) -> vec4<u32> {
  return vec4<u32>(
    pack_halves((${floats('w', bits)} - ${middle}) * s),
    pack_halves((${floats(second, bits)} - ${middle}) * s));
}`;
}

function nativeGroup(bits: 4 | 8, zero: number | undefined): string {
  const mask = bits === 4 ? '0x000f000fu' : '0x00ff00ffu';
  const pairs = bits === 4 ? ['w', 'w >> 4u', 'w >> 8u', 'w >> 12u'] : ['w', 'w >> 8u', 'w2', 'w2 >> 8u'];
  // A zero point may have a fraction, which the sum with 1024 would round away.
  const middle = zero === undefined ? 'vec2<f16>(1024.0h) - vec2<f16>(z)' : `vec2<f16>(${1024 + zero}.0h)`;
  return `fn b_halves(w: u32, s: f16${zero === undefined ? ', z: f16' : ''}) -> u32 {
  return bitcast<u32>((bitcast<vec2<f16>>((w & ${mask}) | 0x64006400u) - ${middle}) * vec2<f16>(s));
}
fn b_group(w: u32, ${bits === 8 ? 'w2: u32, ' : ''}s: f16${zero === undefined ? ', z: f16' : ''}) -> vec4<u32> {
  return vec4<u32>(${pairs.map((pair) => `b_halves(${pair}, s${zero === undefined ? ', z' : ''})`).join(', ')});
}`;
}
