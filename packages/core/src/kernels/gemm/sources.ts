import type { TensorView } from '../../plan/plan.ts';
import { u32, i32, type Param } from '../shader.ts';
import { channelsInFours, convolutionSource } from './convolution-source.ts';
import { range, type DenseSource, type GemmProblem, type PreparedB } from './problem.ts';

/**
 * WGSL through which a kernel reads A, whatever it is:
 * - `struct ARow`, `fn a_row(batch: u32, m: u32) -> ARow`: what is known of a row before the loop over depth;
 * - `struct AStep`, `fn a_step(k0: u32) -> AStep`: what a tile of depth has in common, `k0` being its first;
 * - `fn a_load4(row: ARow, step: AStep, k: u32) -> vec4f`: elements `k0 + k … k0 + k + 3` of the row, zeros beyond the
 *   depth. `k` is a multiple of 4.
 */
export interface SourceCode {
  inputs: Record<string, TensorView>;
  params: Record<string, Param>;
  functions: string;
}

/** @param tileDepth depth of the kernel's tiles: tiles that stay inside one kernel tap are read faster */
export function aSource(problem: GemmProblem, tileDepth: number): SourceCode {
  return problem.a.kind === 'dense'
    ? denseSource(problem, problem.a, tileDepth)
    : convolutionSource(problem, problem.a, tileDepth);
}

/** Whether A is read element by element, with so much code for each that it must not be repeated. */
export function readsByElement({ a }: GemmProblem): boolean {
  return a.kind === 'convolution' && !channelsInFours(a);
}

function denseSource(problem: GemmProblem, a: DenseSource, tileDepth: number): SourceCode {
  const { batchOffset, params } = batchAddress('a', problem.batch, a.batchStrides);
  const aligned = [a.view.offset, problem.rows > 1 ? a.rowStride : 0, ...a.batchStrides].every(
    (s) => s % 4 === 0,
  );
  return {
    inputs: { A: a.view },
    params: { ...params, a_offset: u32(a.view.offset), a_pitch: u32(a.rowStride), depth: u32(problem.depth) },
    functions: `
struct ARow { base: u32 }
struct AStep { k0: u32 }
fn a_row(batch: u32, m: u32) -> ARow { return ARow(params.a_offset + m * params.a_pitch${batchOffset}); }
fn a_step(k0: u32) -> AStep { return AStep(k0); }
fn a_load4(row: ARow, step: AStep, k: u32) -> vec4f {
  let at = step.k0 + k;
  ${loadGroup('A', 'row.base + at', 'at', 'params.depth', aligned, endOf(problem.depth, tileDepth))}
}`,
  };
}

/** Reads of B: `b_load4(batch, k, n)` along columns for `kn`, along depth for `nk`; zeros beyond the depth. */
export function bSource(problem: GemmProblem, b: PreparedB, tileDepth: number): SourceCode {
  const { batchOffset, params } = batchAddress('b', problem.batch, b.batchStrides);
  const aligned = [b.view.offset, b.stride, ...b.batchStrides].every((s) => s % 4 === 0);
  const start = `let base = params.b_offset${batchOffset};`;
  return {
    inputs: { B: b.view },
    params: {
      ...params,
      b_offset: u32(b.view.offset),
      b_pitch: u32(b.stride),
      b_columns: u32(b.columns),
      depth: u32(problem.depth),
    },
    functions:
      b.layout === 'kn'
        ? `fn b_load4(batch: u32, k: u32, n: u32) -> vec4f {
  ${start}
  ${problem.depth % tileDepth === 0 ? '' : 'if (k >= params.depth) { return vec4f(); }'}
  ${loadGroup('B', 'base + k * params.b_pitch + n', 'n', 'params.b_columns', aligned, endOf(b.columns, 4))}
}`
        : `fn b_load4(batch: u32, k: u32, n: u32) -> vec4f {
  ${start}
  if (n >= params.b_columns) { return vec4f(); }
  ${loadGroup('B', 'base + n * params.b_pitch + k', 'k', 'params.depth', aligned, endOf(problem.depth, tileDepth))}
}`,
  };
}

/** How a run of elements ends for a kernel that reads groups of four, in tiles. */
type End = 'with tiles' | 'with groups' | 'anywhere';

function endOf(length: number, tile: number): End {
  return length % tile === 0 ? 'with tiles' : length % 4 === 0 ? 'with groups' : 'anywhere';
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
): string {
  const each = (text: (e: number) => string): string => range(4).map(text).join(', ');
  const read = aligned ? `${buffer}_load4(i)` : `vec4f(${each((e) => `${buffer}_load(i + ${e}u)`)})`;
  switch (end) {
    case 'with tiles':
      return `let i = ${index};
  return ${read};`;
    case 'with groups':
      return `let i = ${index};
  if (${at} >= ${length}) { return vec4f(); }
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

/** Text ` + …` that adds an operand's offset for `batch`, the flat index over the batch axes. */
export function batchAddress(
  prefix: string,
  batch: readonly number[],
  strides: readonly number[],
): { batchOffset: string; params: Record<string, Param> } {
  const params: Record<string, Param> = {};
  let rest = 'batch';
  let text = '';
  for (let axis = batch.length - 1; axis >= 0; axis--) {
    const stride = strides[axis] ?? 0;
    if (stride !== 0) {
      params[`${prefix}_batch${axis}`] = i32(stride);
      const index = axis === 0 ? rest : `${rest} % params.batch${axis}`;
      text += ` + (${index}) * u32(params.${prefix}_batch${axis})`;
    }
    if (axis > 0) params[`batch${axis}`] = u32(batch[axis]!);
    rest = `(${rest} / params.batch${axis})`;
  }
  return { batchOffset: text, params };
}
