import { u32 } from '../shader.ts';
import { batchAddress } from './batch-address.ts';
import { channelsInGroups, convolutionSource } from './convolution-source.ts';
import { integerSource } from './integer-source.ts';
import { groupType, type BSourceCode, type GroupWidth, type SourceCode } from './source-code.ts';
import { range, type DenseSource, type GemmProblem, type PreparedB } from './problem.ts';

/** @param tileDepth depth of the kernel's tiles: tiles that stay inside one kernel tap are read faster */
export function aSource(problem: GemmProblem, tileDepth: number): SourceCode {
  return sourceOf(problem, tileDepth, 4);
}

export function bSource(problem: GemmProblem, b: PreparedB, tileDepth: number): BSourceCode {
  return b.integers
    ? integerSource(problem, b, b.integers, tileDepth, 4, false)
    : inPieces(bSourceOf(problem, b, tileDepth, 4), 4);
}

/** Pieces that are what they become. */
function inPieces(code: SourceCode, width: GroupWidth): BSourceCode {
  const type = groupType(width);
  return {
    ...code,
    functions: `${code.functions}
alias BPiece${width} = ${type};
fn b_unpack${width}(piece: BPiece${width}) -> ${type} { return piece; }`,
  };
}

/** The same in halves, for columns within B. Adds `pack_halves`, so it comes before `bHalves`. */
export function aHalves(problem: GemmProblem, tileDepth: number): SourceCode {
  if (problem.a.view.storage === 'f16' && wholeGroups(problem, 8)) return sourceOf(problem, tileDepth, 8);
  const code = sourceOf(problem, tileDepth, 4);
  return {
    ...code,
    functions: `${code.functions}
fn a_load8(row: ARow, step: AStep, k: u32) -> vec4<u32> {
  return vec4<u32>(pack_halves(a_load4(row, step, k)), pack_halves(a_load4(row, step, k + 4u)));
}`,
  };
}

/** @param native whether WGSL's `f16` may be used */
export function bHalves(problem: GemmProblem, b: PreparedB, tileDepth: number, native: boolean): BSourceCode {
  if (b.integers) return integerSource(problem, b, b.integers, tileDepth, 8, native);
  const strides = [b.view.offset, b.stride, ...b.batchStrides, b.layout === 'kn' ? b.columns : problem.depth];
  if (b.view.storage === 'f16' && strides.every((s) => s % 8 === 0)) {
    return inPieces(bSourceOf(problem, b, tileDepth, 8), 8);
  }
  const code = bSourceOf(problem, b, tileDepth, 4);
  const second = b.layout === 'kn' ? 'k, n + 4u' : 'k + 4u, n';
  return inPieces(
    {
      ...code,
      functions: `${code.functions}
fn b_fetch8(batch: u32, k: u32, n: u32) -> vec4<u32> {
  return vec4<u32>(pack_halves(b_fetch4(batch, k, n)), pack_halves(b_fetch4(batch, ${second})));
}`,
    },
    8,
  );
}

/** Whether A is read element by element, with so much code for each that it must not be repeated. */
export function readsByElement({ a }: GemmProblem): boolean {
  return a.kind === 'convolution' && !channelsInGroups(a, 4);
}

/** Whether A lies in groups of `width` elements, none of which crosses its end. */
function wholeGroups(problem: GemmProblem, width: GroupWidth): boolean {
  const { a } = problem;
  if (a.kind === 'convolution') return channelsInGroups(a, width);
  const strides = [a.view.offset, problem.rows > 1 ? a.rowStride : 0, ...a.batchStrides, problem.depth];
  return strides.every((s) => s % width === 0);
}

function sourceOf(problem: GemmProblem, tileDepth: number, width: GroupWidth): SourceCode {
  return problem.a.kind === 'dense'
    ? denseSource(problem, problem.a, tileDepth, width)
    : convolutionSource(problem, problem.a, tileDepth, width);
}

function denseSource(problem: GemmProblem, a: DenseSource, tileDepth: number, width: GroupWidth): SourceCode {
  const { batchOffset, params } = batchAddress('a', problem.batch, a.batchStrides);
  const strides = [a.view.offset, problem.rows > 1 ? a.rowStride : 0, ...a.batchStrides];
  const aligned = strides.every((s) => s % width === 0);
  return {
    inputs: { A: a.view },
    raw: width === 8 ? ['A'] : [],
    params: { ...params, a_offset: u32(a.view.offset), a_pitch: u32(a.rowStride), depth: u32(problem.depth) },
    functions: `
struct ARow { base: u32 }
struct AStep { k0: u32 }
fn a_row(batch: u32, m: u32) -> ARow { return ARow(params.a_offset + m * params.a_pitch${batchOffset}); }
fn a_step(k0: u32) -> AStep { return AStep(k0); }
fn a_load${width}(row: ARow, step: AStep, k: u32) -> ${groupType(width)} {
  let at = step.k0 + k;
  ${loadGroup('A', 'row.base + at', 'at', 'params.depth', aligned, endOf(problem.depth, tileDepth, width), width)}
}`,
  };
}

/** `b_fetchW` alone. */
function bSourceOf(problem: GemmProblem, b: PreparedB, tileDepth: number, width: GroupWidth): SourceCode {
  const { batchOffset, params } = batchAddress('b', problem.batch, b.batchStrides);
  const aligned = [b.view.offset, b.stride, ...b.batchStrides].every((s) => s % width === 0);
  const start = `let base = params.b_offset${batchOffset};`;
  const head = `fn b_fetch${width}(batch: u32, k: u32, n: u32) -> ${groupType(width)} {
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
  ${problem.depth % tileDepth === 0 ? '' : `if (k >= params.depth) { return ${groupType(width)}(); }`}
  ${loadGroup('B', 'base + k * params.b_pitch + n', 'n', 'params.b_columns', aligned, endOf(b.columns, width, width), width)}
}`
        : `${head}
  ${width === 8 ? '' : `if (n >= params.b_columns) { return ${groupType(width)}(); }`}
  ${loadGroup('B', 'base + n * params.b_pitch + k', 'k', 'params.depth', aligned, endOf(problem.depth, tileDepth, width), width)}
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
  width: GroupWidth,
): string {
  const each = (text: (e: number) => string): string => range(4).map(text).join(', ');
  const read =
    width === 8
      ? `${buffer}[i >> 3u]`
      : aligned
        ? `${buffer}_load4(i)`
        : `vec4f(${each((e) => `${buffer}_load(i + ${e}u)`)})`;
  switch (end) {
    case 'with tiles':
      return `let i = ${index};
  return ${read};`;
    case 'with groups':
      return `let i = ${index};
  if (${at} >= ${length}) { return ${groupType(width)}(); }
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
