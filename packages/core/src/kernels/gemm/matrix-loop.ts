import type { MatrixDialect } from '../subgroup-matrix.ts';
import { copies, spread } from './copies.ts';
import { matrixB } from './matrix-b.ts';
import { matrixLayout, type MatrixLayout, type MatrixTile } from './matrix-layout.ts';
import { range, type GemmProblem, type PreparedB } from './problem.ts';
import type { SourceCode } from './source-code.ts';
import { aHalves } from './sources.ts';

/** How the operands of a tile come to workgroup memory and are multiplied, for `matrixKernel`. */
export interface MatrixLoop {
  /** What a kernel's name says of it. */
  suffix: string;
  layout: MatrixLayout;
  /** Code that reads A and B. */
  sources: readonly SourceCode[];
  /** Tiles along the rows. */
  tilesM: number;
  /** WGSL of the length of what slices share, and how much of it each gets. */
  depth: string;
  sliceDepth: number;
  /** Statements before the loop: what each thread copies. */
  start: string;
  /** Statements that add the products from `start` to `end` to the accumulators `cROW_COLUMN`. */
  loop: string;
  /** WGSL of the row of the result that is row `row` of row block `i` of a subgroup; none from `params.rows` on. */
  row: (i: number) => string;
}

/** Statements that multiply what lies in workgroup memory, one step of 16 of depth: `left` and `right` load its matrices. */
export function multiplyStep(
  matrices: MatrixDialect,
  { subgroupRows, subgroupColumns }: MatrixTile,
  left: (i: number) => string,
  right: (j: number) => string,
): string {
  const down = range(subgroupRows / 16);
  return [
    '{',
    ...down.map(left),
    ...range(subgroupColumns / 16).flatMap((j) => [
      right(j),
      ...down.map((i) => matrices.multiply(`c${i}_${j}`, `a${i}`, `b${j}`)),
    ]),
    '}',
  ].join('\n      ');
}

/** Tiles of both operands, one step of depth after the other, the next on its way to registers meanwhile. */
export function tileLoop(
  problem: GemmProblem,
  b: PreparedB,
  tile: MatrixTile,
  slices: number,
  matrices: MatrixDialect,
  native: boolean,
): MatrixLoop {
  const { tileRows, tileDepth, subgroupRows } = tile;
  const layout = matrixLayout(tile, b.layout);
  const { threads, pitchA, tileA } = layout;
  const depthGroups = tileDepth / 8;
  const a = aHalves(problem, tileDepth, native);
  const right = matrixB(problem, b, tile, layout, matrices, native);
  const slots = copies((tileRows * tileDepth) / 8, threads);
  const fetch = (k0: string): string => `if (${k0} < end) {
      let step = a_step(${k0});
      ${slots.map(({ guard }, i) => `${guard}{ va${i} = a_fetch8(ra${i}, step, ka${i} * 8u); }`).join('\n      ')}
      ${right.fetch(k0)}
    }`;
  const put = slots
    .map(
      ({ guard }, i) =>
        `${guard}{ ${tileA}[ma${i} / 16u][(ma${i} % 16u) * ${pitchA}u + ka${i}] = a_unpack8(ra${i}, va${i}); }`,
    )
    .join('\n    ');
  const multiply = range(tileDepth / 16)
    .map((k) =>
      multiplyStep(
        matrices,
        tile,
        (i) => matrices.left(`a${i}`, tileA, `sm * ${subgroupRows / 16}u + ${i}u`, k * 2, pitchA),
        (j) => right.load(`b${j}`, k, j),
      ),
    )
    .join('\n    ');
  return {
    suffix: '',
    layout,
    sources: [a, right.code],
    tilesM: Math.ceil(problem.rows / tileRows),
    depth: 'params.depth',
    sliceDepth: Math.ceil(Math.ceil(problem.depth / tileDepth) / slices) * tileDepth,
    start: `${slots
      .map(
        (_, i) => `let ia${i} = ${i * threads}u + lane;
  let ma${i} = ${spread(`(ia${i} / ${depthGroups}u)`, depthGroups)};
  let ka${i} = ia${i} % ${depthGroups}u;
  let ra${i} = a_row(batch, min(m0 + ma${i}, params.rows - 1u));
  var va${i} = APiece8();`,
      )
      .join('\n  ')}
  ${right.start}`,
    loop: `${fetch('start')}
  for (var k0 = start; k0 < end; k0 += ${tileDepth}u) {
    workgroupBarrier();
    ${put}
    ${right.put()}
    workgroupBarrier();
    ${fetch(`(k0 + ${tileDepth}u)`)}
    ${multiply}
  }`,
    row: (i) => `m0 + sm * ${subgroupRows}u + ${i * 16}u + row`,
  };
}
