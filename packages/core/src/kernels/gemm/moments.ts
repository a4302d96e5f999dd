import type { Lowering } from '../../plan/lowering.ts';
import type { ProducedMoments } from '../group-norm/produced.ts';
import { u32 } from '../shader.ts';
import type { MatrixDialect } from '../subgroup-matrix.ts';
import { wholePieces } from './halo.ts';
import type { MatrixTile } from './matrix-layout.ts';
import type { SourceCode } from './source-code.ts';
import { batchSize, range, type GemmProblem } from './problem.ts';

/** Bindings beside what finishes results: A, B and its scales, the result and its moments. */
const BINDINGS = 5;

/**
 * Memory for the moments of a product's result, as the next GroupNorm wants them; undefined where none does or the tile
 * is not made for it. A chunk is the rows of a subgroup.
 */
export function momentsOf(
  lowering: Lowering,
  problem: GemmProblem,
  { tileRows, subgroupRows, halo }: MatrixTile,
): ProducedMoments | undefined {
  const { a, output, rows, columns, epilogue } = problem;
  const images = output.view.shape[0]!;
  const oneImage = batchSize(problem) === 1 || output.interleaved !== undefined;
  if (!problem.normalized || !oneImage || output.part) return undefined;
  // No tile may have rows of two images, or beyond the last.
  if ((rows / images) % tileRows !== 0 || (halo && !wholePieces(problem, tileRows))) return undefined;
  const bindings = BINDINGS + ('pair' in a ? 1 : 0) + (epilogue?.operands.length ?? 0);
  if (bindings > lowering.capabilities.limits.maxStorageBuffersPerShaderStage) return undefined;
  const chunks = (batchSize(problem) * rows) / images / subgroupRows;
  const view = lowering.scratch('moments', [images, columns / 4, chunks, 2], 'f32');
  return { view, chunks, chunkPositions: subgroupRows };
}

/** WGSL by which a matrix kernel leaves the moments of its results, which it finishes one row block after the other. */
export interface MomentsCode extends Pick<SourceCode, 'params' | 'functions'> {
  /** Statements before the first result. */
  start: string;
  /** Takes in four finished results: of row block `i` and column block `j`, the first or second of a half row. */
  add(i: number, j: number, part: number, value: string): string;
  /** Statements after the last. */
  leave: string;
}

/**
 * A lane keeps moments of four columns for each half row that it finishes; lanes of one half row are then merged over the
 * subgroup. All merges are of equal or constant counts (Chan's formula).
 */
export function momentsCode(
  problem: GemmProblem,
  { chunks, chunkPositions }: ProducedMoments,
  { subgroupRows, subgroupColumns }: MatrixTile,
  matrices: MatrixDialect,
): MomentsCode {
  const kept = range(subgroupColumns / 16).flatMap((j) =>
    [0, 1].map((part) => ({ j, part, name: `s${j}_${part}` })),
  );
  // Lanes of a half row differ in the bits above the lowest.
  const merges = [2, 4, 8, 16].map((distance, k) => ({ distance, count: (subgroupRows / 4) * 2 ** k }));
  const rowsOfImage = problem.rows / problem.output.view.shape[0]!;
  return {
    params: {
      moment_rows: u32(rowsOfImage),
      moment_chunks: u32(chunks),
      moment_columns: u32(problem.columns / 4),
    },
    functions: `/** Moments of \`before\` fours of elements and one more. */
fn with_four(m: vec2f, before: f32, v: vec4f) -> vec2f {
  let mean = dot(v, vec4f(0.25));
  let own = v - mean;
  let delta = mean - m.x;
  let share = 1.0 / (before + 1.0);
  return vec2f(m.x + delta * share, m.y + dot(own, own) + delta * delta * (4.0 * before * share));
}
/** Moments of two times \`count\` elements. */
fn with_other(m: vec2f, mean: f32, squares: f32, count: f32) -> vec2f {
  let delta = mean - m.x;
  return vec2f(m.x + 0.5 * delta, m.y + squares + delta * delta * (0.5 * count));
}
fn moments_put(batch: u32, m: u32, n: u32, v: vec2f) {
  if (n >= params.columns) { return; }
  let image = m / params.moment_rows;
  let chunk = (batch * params.moment_rows + m % params.moment_rows) / ${chunkPositions}u;
  let k = (image * params.moment_columns + n / 4u) * params.moment_chunks + chunk;
  moments_store(2u * k, v.x);
  moments_store(2u * k + 1u, v.y);
}`,
    start: kept.map(({ name }) => `var ${name} = vec2f();`).join(' '),
    add: (i, j, part, value) => `s${j}_${part} = with_four(s${j}_${part}, ${i}.0, ${value});`,
    leave: `${merges
      .map(({ distance, count }) =>
        kept
          .map(
            ({ name }) =>
              `${name} = with_other(${name}, ${matrices.exchange(`${name}.x`, distance)}, ${matrices.exchange(`${name}.y`, distance)}, ${count}.0);`,
          )
          .join('\n  '),
      )
      .join('\n  ')}
  if (row == 0u) {
    ${kept
      .map(
        ({ name, j, part }) =>
          `moments_put(batch, m0 + sm * ${subgroupRows}u, n0 + sn * ${subgroupColumns}u + ${16 * j + 4 * part}u + half * 8u, ${name});`,
      )
      .join('\n    ')}
  }`,
  };
}
