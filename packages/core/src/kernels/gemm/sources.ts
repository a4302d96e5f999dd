import { u32 } from '../shader.ts';
import { batchAddress } from './batch-address.ts';
import { convolutionSource } from './convolution-source.ts';
import { channelsInGroups } from './image-code.ts';
import { winogradSource } from './winograd-source.ts';
import { integerSource } from './integer-source.ts';
import {
  aLoad,
  depthStep,
  groupType,
  pieceOf,
  type BSourceCode,
  type GroupWidth,
  type Piece,
  type SourceCode,
} from './source-code.ts';
import type { Pair } from '../../plan/joins.ts';
import type { TensorView } from '../../plan/plan.ts';
import { pairByDepth, rowOf } from './pair-source.ts';
import { range, type DenseSource, type GemmProblem, type PreparedB } from './problem.ts';

/**
 * @param tileDepth depth of the kernel's tiles: tiles that stay inside one kernel tap are read faster
 * @param native whether WGSL's `f16` may be used
 */
export function aSource(problem: GemmProblem, tileDepth: number, native: boolean): SourceCode {
  return sourceOf(problem, tileDepth, 4, native);
}

export function bSource(problem: GemmProblem, b: PreparedB, tileDepth: number, native: boolean): BSourceCode {
  return b.integers
    ? integerSource(problem, b, b.integers, tileDepth)
    : bSourceOf(problem, b, tileDepth, 4, native);
}

/** The same in halves, for columns within B. */
export function aHalves(problem: GemmProblem, tileDepth: number, native: boolean): SourceCode {
  if (problem.a.view.storage === 'f16' && wholeGroups(problem, 8))
    return sourceOf(problem, tileDepth, 8, native);
  const code = sourceOf(problem, tileDepth, 4, native);
  return {
    ...code,
    functions: `${code.functions}
alias APiece8 = vec4<u32>;
fn a_fetch8(row: ARow, step: AStep, k: u32) -> vec4<u32> {
  return vec4<u32>(pack_halves(a_load4(row, step, k)), pack_halves(a_load4(row, step, k + 4u)));
}
fn a_unpack8(row: ARow, piece: vec4<u32>) -> vec4<u32> { return piece; }`,
  };
}

/** @param native whether WGSL's `f16` may be used */
export function bHalves(problem: GemmProblem, b: PreparedB, tileDepth: number, native: boolean): BSourceCode {
  const strides = [b.view.offset, b.stride, ...b.batchStrides, b.layout === 'kn' ? b.columns : problem.depth];
  if (b.view.storage === 'f16' && strides.every((s) => s % 8 === 0)) {
    return bSourceOf(problem, b, tileDepth, 8, native);
  }
  const code = bSourceOf(problem, b, tileDepth, 4, native);
  const half = (at: string): string => `pack_halves(b_unpack4(b_fetch4(batch, ${at})))`;
  return {
    ...code,
    functions: `${code.functions}
alias BPiece8 = vec4<u32>;
fn b_fetch8(batch: u32, k: u32, n: u32) -> vec4<u32> {
  return vec4<u32>(${half('k, n')}, ${half(b.layout === 'kn' ? 'k, n + 4u' : 'k + 4u, n')});
}
fn b_unpack8(piece: vec4<u32>) -> vec4<u32> { return piece; }`,
  };
}

/** Whether A is read element by element, with so much code for each that it must not be repeated. */
export function readsByElement({ a }: GemmProblem): boolean {
  return a.kind === 'convolution' && !channelsInGroups(a, 4);
}

/** Whether A lies in groups of `width` elements, none of which crosses its end. */
function wholeGroups(problem: GemmProblem, width: GroupWidth): boolean {
  const { a } = problem;
  if (a.kind === 'winograd') return false;
  if (a.kind === 'convolution') return channelsInGroups(a, width);
  const strides = [a.view.offset, problem.rows > 1 ? a.rowStride : 0, ...a.batchStrides, problem.depth];
  return strides.every((s) => s % width === 0);
}

function sourceOf(problem: GemmProblem, tileDepth: number, width: GroupWidth, native: boolean): SourceCode {
  const { a } = problem;
  switch (a.kind) {
    case 'dense':
      return denseSource(problem, a, tileDepth, width, native);
    case 'convolution':
      return convolutionSource(problem, a, tileDepth, width, native);
    case 'winograd':
      return winogradSource(problem, a, tileDepth, native);
  }
}

function denseSource(
  problem: GemmProblem,
  a: DenseSource,
  tileDepth: number,
  width: GroupWidth,
  native: boolean,
): SourceCode {
  const { batchOffset, params } = batchAddress('a', problem.batch, a.batchStrides);
  const strides = [a.view.offset, problem.rows > 1 ? a.rowStride : 0, ...a.batchStrides];
  const aligned = strides.every((s) => s % width === 0);
  const end = endOf(problem.depth, tileDepth, width);
  const piece = pieceFor(a.view, width, native, aligned, end);
  if (a.pair) return densePair(problem, a, a.pair, tileDepth, width, piece);
  return {
    inputs: { A: a.view },
    raw: width === 8 ? ['A'] : [],
    params: { ...params, a_offset: u32(a.view.offset), a_pitch: u32(a.rowStride), depth: u32(problem.depth) },
    functions: `${depthStep}
struct ARow { base: u32 }
fn a_row(batch: u32, m: u32) -> ARow { return ARow(params.a_offset + m * params.a_pitch${batchOffset}); }
alias APiece${width} = ${piece.type};
fn a_fetch${width}(row: ARow, step: AStep, k: u32) -> APiece${width} {
  let at = step.k0 + k;
  ${loadGroup('A', 'row.base + at', 'at', 'params.depth', aligned, end, piece)}
}
fn a_unpack${width}(row: ARow, piece: APiece${width}) -> ${groupType(width)} { return ${piece.value('piece')}; }
${aLoad(width)}`,
  };
}

/** Rows of two tensors, both in whole groups. */
function densePair(
  problem: GemmProblem,
  a: DenseSource,
  pair: Pair,
  tileDepth: number,
  width: GroupWidth,
  piece: Piece,
): SourceCode {
  const row = rowOf(pair);
  const strides = a.batchStrides.map((stride) => stride / row);
  const { batchOffset, params } = batchAddress('a', problem.batch, strides);
  const both = pairByDepth(pair, piece, tileDepth);
  return {
    inputs: both.inputs,
    raw: width === 8 ? Object.keys(both.inputs) : [],
    params: {
      ...both.params,
      ...params,
      a_offset: u32(a.view.offset / row),
      a_pitch: u32(a.rowStride / row),
      depth: u32(problem.depth),
    },
    functions: `${both.functions}
struct ARow { base: u32 }
fn a_row(batch: u32, m: u32) -> ARow { return ARow(params.a_offset + m * params.a_pitch${batchOffset}); }
alias APiece${width} = ${piece.type};
fn a_fetch${width}(row: ARow, step: AStep, k: u32) -> APiece${width} {
  ${problem.depth % tileDepth === 0 ? '' : `if (step.k0 + k >= params.depth) { return APiece${width}(); }`}
  return ${both.read('row.base')};
}
fn a_unpack${width}(row: ARow, piece: APiece${width}) -> ${groupType(width)} { return ${piece.value('piece')}; }
${aLoad(width)}`,
  };
}

/** Groups that are put together from elements are floats already. */
function pieceFor(view: TensorView, width: GroupWidth, native: boolean, aligned: boolean, end: End): Piece {
  const whole = width === 8 || (aligned && end !== 'anywhere');
  return pieceOf(whole ? view : { ...view, storage: 'f32' }, width, native);
}

function bSourceOf(
  problem: GemmProblem,
  b: PreparedB,
  tileDepth: number,
  width: GroupWidth,
  native: boolean,
): BSourceCode {
  const { batchOffset, params } = batchAddress('b', problem.batch, b.batchStrides);
  const aligned = [b.view.offset, b.stride, ...b.batchStrides].every((s) => s % width === 0);
  const start = `let base = params.b_offset${batchOffset};`;
  const end = b.layout === 'kn' ? endOf(b.columns, width, width) : endOf(problem.depth, tileDepth, width);
  const piece = pieceFor(b.view, width, native, aligned, end);
  const head = `alias BPiece${width} = ${piece.type};
fn b_unpack${width}(piece: BPiece${width}) -> ${groupType(width)} { return ${piece.value('piece')}; }
fn b_fetch${width}(batch: u32, k: u32, n: u32) -> BPiece${width} {
  ${start}`;
  return {
    inputs: { B: b.view },
    raw: width === 8 ? ['B'] : [],
    params: {
      ...params,
      b_offset: u32(b.view.offset),
      b_pitch: u32(b.stride),
      b_columns: u32(b.columns),
      depth: u32(problem.depth),
    },
    functions:
      b.layout === 'kn'
        ? `${head}
  ${problem.depth % tileDepth === 0 ? '' : `if (k >= params.depth) { return BPiece${width}(); }`}
  ${loadGroup('B', 'base + k * params.b_pitch + n', 'n', 'params.b_columns', aligned, end, piece)}
}`
        : `${head}
  ${width === 8 ? '' : `if (n >= params.b_columns) { return BPiece${width}(); }`}
  ${loadGroup('B', 'base + n * params.b_pitch + k', 'k', 'params.depth', aligned, end, piece)}
}`,
  };
}

/** How a run of elements ends for a kernel that reads groups of four, in tiles. */
type End = 'with tiles' | 'with groups' | 'anywhere';

function endOf(length: number, tile: number, width: GroupWidth): End {
  return length % tile === 0 ? 'with tiles' : length % width === 0 ? 'with groups' : 'anywhere';
}

/**
 * Statements that return elements `at … at + 3` of a run of `length`, of which the first lies at `index`, with zeros
 * beyond the end.
 */
function loadGroup(
  buffer: string,
  index: string,
  at: string,
  length: string,
  aligned: boolean,
  end: End,
  piece: Piece,
): string {
  const each = (text: (e: number) => string): string => range(4).map(text).join(', ');
  const read = aligned ? piece.read(buffer, 'i') : `vec4f(${each((e) => `${buffer}_load(i + ${e}u)`)})`;
  switch (end) {
    case 'with tiles':
      return `let i = ${index};
  return ${read};`;
    case 'with groups':
      return `let i = ${index};
  if (${at} >= ${length}) { return ${piece.type}(); }
  return ${read};`;
    case 'anywhere':
      return `let i = ${index};
  var v = vec4f();
  ${range(4)
    .map((e) => `if (${at} + ${e}u < ${length}) { v[${e}] = ${buffer}_load(i + ${e}u); }`)
    .join('\n  ')}
  return v;`;
  }
}
