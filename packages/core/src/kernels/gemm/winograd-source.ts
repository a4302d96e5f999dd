import { u32 } from '../shader.ts';
import { pairByDepth, rowOf } from './pair-source.ts';
import type { GemmProblem, WinogradSource } from './problem.ts';
import { aLoad, depthStep, pieceOf, type SourceCode } from './source-code.ts';

/**
 * Reads an image as the transformed patches `Bᵀ d B` of a Winograd convolution. Product `batch` wants element
 * (batch / 4, batch % 4) of each: along an axis that is a sum or difference of two pixels, so four pixels in all. They are
 * added up when the piece is unpacked: transformed patches are never stored.
 */
export function winogradSource(
  problem: GemmProblem,
  { view, image, patches }: WinogradSource,
  tileDepth: number,
  native: boolean,
): SourceCode {
  const [rows, columns] = image.axes;
  const piece = pieceOf(view, 4, native);
  const pixels = [0, 1, 2, 3];
  const { pair } = image;
  const both = pair && pairByDepth(pair, piece, tileDepth);
  // Of two tensors rows are counted, which are pixels.
  const unit = pair ? rowOf(pair) : 1;
  const read = (pixel: string, inside: string): string =>
    both
      ? both.read(`select(0u, ${pixel}, ${inside})`)
      : piece.read('A', `select(0u, ${pixel} + at, ${inside})`);
  return {
    inputs: both?.inputs ?? { A: view },
    params: {
      ...both?.params,
      a_offset: u32(view.offset / unit),
      a_image: u32(view.strides[0]! / unit),
      a_row_stride: u32(view.strides[2]! / unit),
      a_column_stride: u32(view.strides[3]! / unit),
      a_height: u32(rows!.input),
      a_width: u32(columns!.input),
      patch_rows: u32(patches[0]),
      patch_columns: u32(patches[1]),
      depth: u32(problem.depth),
    },
    functions: `${both?.functions ?? depthStep}
const FIRST = vec4<u32>(0u, 1u, 2u, 1u);
const SECOND = vec4<u32>(2u, 2u, 1u, 3u);
struct ARow { base: u32, inside: vec4<bool>, offsets: vec4<u32>, signs: vec4f }
struct APiece4 { ${pixels.map((p) => `v${p}: ${piece.type}`).join(', ')} }
fn a_row(batch: u32, m: u32) -> ARow {
  let across = m % params.patch_columns;
  let rest = m / params.patch_columns;
  // Positions before the image are huge.
  let y0 = rest % params.patch_rows * 2u - ${rows!.pad}u;
  let x0 = across * 2u - ${columns!.pad}u;
  let dy = vec2<u32>(FIRST[batch >> 2u], SECOND[batch >> 2u]);
  let dx = vec2<u32>(FIRST[batch & 3u], SECOND[batch & 3u]);
  let sy = select(-1.0, 1.0, (batch >> 2u) == 1u);
  let sx = select(-1.0, 1.0, (batch & 3u) == 1u);
  let y = dy.xxyy + y0;
  let x = dx.xyxy + x0;
  return ARow(
    params.a_offset + rest / params.patch_rows * params.a_image + y0 * params.a_row_stride + x0 * params.a_column_stride,
    (y < vec4<u32>(params.a_height)) & (x < vec4<u32>(params.a_width)),
    dy.xxyy * params.a_row_stride + dx.xyxy * params.a_column_stride,
    vec4f(1.0, sx, sy, sx * sy));
}
fn a_fetch4(row: ARow, step: AStep, k: u32) -> APiece4 {
  let at = step.k0 + k;
  ${problem.depth % tileDepth === 0 ? '' : 'if (at >= params.depth) { return APiece4(); }'}
  return APiece4(${pixels.map((p) => read(`row.base + row.offsets[${p}]`, `row.inside[${p}]`)).join(', ')});
}
fn a_unpack4(row: ARow, piece: APiece4) -> vec4f {
  return ${pixels
    .map((p) => `row.signs[${p}] * select(vec4f(), ${piece.value(`piece.v${p}`)}, row.inside[${p}])`)
    .join(' + ')};
}
${aLoad(4)}`,
  };
}
