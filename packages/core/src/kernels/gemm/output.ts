import { call, input } from '../../graph/expr.ts';
import type { TensorView } from '../../plan/plan.ts';
import { SPECIAL_FLOATS } from '../elementwise/elementwise.ts';
import { exprToWgsl } from '../elementwise/wgsl-expr.ts';
import { u32, type Param } from '../shader.ts';
import { batchSize, range, type Gate, type GemmProblem, type PreparedB } from './problem.ts';
import type { SourceCode } from './source-code.ts';

// What the back ends share: the order of tiles, gates, and where results go.

/** Where the depth is split over workgroups, or the output has no whole groups of four: sums go through memory. */
export interface PartialSums {
  view: TensorView;
  slices: number;
}

export function gemmFlops(problem: GemmProblem): number {
  return 2 * batchSize(problem) * problem.rows * problem.columns * problem.depth * (problem.gate ? 2 : 1);
}

/** What a kernel's name says of integers in B: `_q4`. */
export function integerSuffix({ integers }: PreparedB): string {
  return integers ? `_q${integers.bits}` : '';
}

/** Workgroups that run at once on a large GPU: two on each of the 132 multiprocessors of an H100. */
const CONCURRENT_TILES = 264;

/**
 * Statements that find `tile_m`, `tile_n`, `slice` and `batch` of a workgroup. Where tiles are many they come in stripes
 * of eight rows, so that workgroups which run together share tiles of B and of A in the cache.
 */
export function tileOrder(problem: GemmProblem, tiles: number, slices: number): string {
  const many = batchSize(problem) > 1;
  const flat = slices > 1 || many ? 'workgroup % params.tiles' : 'workgroup';
  const above = 'workgroup / params.tiles';
  return `let tile = ${flat};
  let slice = ${slices > 1 ? `(${above}) % params.slices` : '0u'};
  let batch = ${many ? (slices > 1 ? `${above} / params.slices` : above) : '0u'};
  ${
    tiles > CONCURRENT_TILES
      ? `let stripe = tile / (8u * params.tiles_n);
  let stripe_rows = min(params.tiles_m - stripe * 8u, 8u);
  let in_stripe = tile % (8u * params.tiles_n);
  let tile_m = stripe * 8u + in_stripe % stripe_rows;
  let tile_n = in_stripe / stripe_rows;`
      : `let tile_m = tile % params.tiles_m;
  let tile_n = tile / params.tiles_m;`
  }`;
}

/** `fn gated(left, right, n)`: combines the two operands of a gate for columns `n … n + 3`. */
export function gateCode(gate: Gate | undefined): SourceCode {
  if (!gate) return { inputs: {}, params: {}, functions: '' };
  const code = exprToWgsl(call(gate.activation, [input(0)]), () => ({ text: 'x', type: 'f32' }));
  const bias = (first: string): string =>
    gate.bias
      ? `vec4f(${range(4)
          .map((e) => `G_load(${first} + ${e}u)`)
          .join(', ')})`
      : 'vec4f()';
  return {
    inputs: gate.bias ? { G: gate.bias } : {},
    params: gate.bias ? { gate_offset: u32(gate.bias.offset) } : {},
    functions: `${SPECIAL_FLOATS}
${code.helpers}
fn gate_activation(x: vec4f) -> vec4f { return ${code.text}; }
fn gated(a: vec4f, b: vec4f, n: u32) -> vec4f {
  let left = a + ${bias('params.gate_offset + n')};
  let right = b + ${bias('params.gate_offset + params.columns + n')};
  return ${gate.half === 0 ? 'gate_activation(left) * right' : 'left * gate_activation(right)'};
}`,
  };
}

/** `fn put(slice, batch, m, n, v)`: stores four neighbouring results, finished or as partial sums. */
export function storeCode(problem: GemmProblem, partial: PartialSums | undefined): string {
  const row = problem.output.interleaved
    ? '(2u * (m + m / params.y_squares * params.y_squares + (batch >> 1u) * params.y_squares) + (batch & 1u))'
    : 'm';
  return `fn y_index(slice: u32, batch: u32, m: u32, n: u32) -> u32 {
  return ${problem.output.part ? 'params.y_offset + ' : ''}${partial ? 'slice * params.y_slice + ' : ''}${problem.output.interleaved ? '' : 'batch * params.y_batch + '}${row} * params.y_pitch + n;
}
fn finished(v: vec4f, i: u32) -> vec4f { return ${partial ? 'v' : 'epilogue(v, i)'}; }
fn put(slice: u32, batch: u32, m: u32, n: u32, v: vec4f) {
  if (m >= params.rows || n >= params.columns) { return; }
  let i = y_index(slice, batch, m, n);
  Y_store4(i, finished(v, i));
}
${
  problem.gate
    ? `fn put_gated(slice: u32, batch: u32, m: u32, n: u32, left: vec4f, right: vec4f) { put(slice, batch, m, n, gated(left, right, min(n, params.columns - 1u))); }`
    : ''
}`;
}

/** Four neighbouring results of a thread, from column `n` on; with a gate, a pair of operands. */
export interface Results {
  m: string;
  n: string;
  values: readonly string[];
  /** Statements that take the finished values, before anything is stored. */
  also?: (finished: string) => string;
}

/**
 * Statements that do what `put` does for several groups of results: all are finished before the first is stored, since
 * no compiler moves reads of an epilogue's operands across stores, and one by one each would wait for memory.
 */
export function storeTogether(problem: GemmProblem, results: readonly Results[]): string {
  const finish = results.map(({ m, n, values, also }, k) => {
    const value = problem.gate
      ? `gated(${values.join(', ')}, min(y_n${k}, params.columns - 1u))`
      : values[0]!;
    return `let y_m${k} = ${m}; let y_n${k} = ${n}; let y_i${k} = y_index(slice, batch, min(y_m${k}, params.rows - 1u), y_n${k});
    let y_v${k} = finished(${value}, y_i${k});${also ? ` ${also(`y_v${k}`)}` : ''}`;
  });
  const store = results.map(
    (_, k) => `if (y_m${k} < params.rows && y_n${k} < params.columns) { Y_store4(y_i${k}, y_v${k}); }`,
  );
  return `{
    ${[...finish, ...store].join('\n    ')}
  }`;
}

/** Strides with which `put` addresses its target. */
export function outputParams(problem: GemmProblem, partial: PartialSums | undefined): Record<string, Param> {
  const { pitch, batchStride } = partial ? partialPlace(problem) : problem.output;
  return {
    y_pitch: u32(pitch),
    y_batch: u32(batchStride),
    ...(problem.output.interleaved ? { y_squares: u32(problem.output.interleaved.squares) } : {}),
    ...(problem.output.part ? { y_offset: u32(problem.output.part.offset) } : {}),
    ...(partial ? { y_slice: u32(partialElements(problem)) } : {}),
  };
}

/** Partial sums lie like the output, with rows padded to whole groups of four. */
export function partialPlace(problem: GemmProblem): { pitch: number; batchStride: number } {
  const { pitch, batchStride } = problem.output;
  if (problem.columns % 4 === 0) return { pitch, batchStride };
  const padded = Math.ceil(problem.columns / 4) * 4;
  return { pitch: padded, batchStride: padded * problem.rows };
}

/** Elements of one slice of partial sums. */
export function partialElements(problem: GemmProblem): number {
  const { pitch } = partialPlace(problem);
  const separate = problem.columns % 4 !== 0 || problem.output.batchStride >= pitch * problem.rows;
  return problem.rows * pitch * (separate ? batchSize(problem) : 1);
}
