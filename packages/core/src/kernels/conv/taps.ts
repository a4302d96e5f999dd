import type { TensorView } from '../../plan/plan.ts';
import { i32, u32, type Param } from '../shader.ts';
import type { ConvolutionAxis } from '../gemm/problem.ts';

/**
 * WGSL that walks the taps of a kernel for the direct convolutions: `position(flat)` says where an output position
 * (image and pixel) starts in the input, `tap_offset(at, tap)` where a tap reads, as an element offset, or -1 outside.
 */
export function tapCode(
  axes: readonly ConvolutionAxis[],
  input: TensorView,
  direction: 'forward' | 'transposed',
): { functions: string; params: Record<string, Param>; taps: number } {
  const forward = direction === 'forward';
  const params: Record<string, Param> = { x_image: i32(input.strides[0]!) };
  const fields = axes.map((_, d) => `p${d}: i32`).join(', ');
  const start: string[] = [];
  const walk: string[] = [];
  for (let d = axes.length - 1; d >= 0; d--) {
    const { stride, pad, kernel, dilation, upsample, input: size, output } = axes[d]!;
    params[`in${d}`] = i32(size * upsample);
    params[`out${d}`] = u32(output);
    params[`x_stride${d}`] = i32(input.strides[2 + d]!);
    const at = `i32(rest % params.out${d})`;
    start.push(
      `let p${d} = ${forward ? `${at} * ${stride} - ${pad}` : `${at} + ${pad}`}; rest /= params.out${d};`,
    );
    const step = `i32(taps % ${kernel}u) * ${dilation}`;
    walk.push(`let q${d} = at.p${d} ${forward ? '+' : '-'} ${step}; taps /= ${kernel}u;`);
    const scale = forward ? upsample : stride;
    // A transposed convolution reads only where the step divides.
    const divides = forward || stride === 1 ? '' : ` || q${d} % ${stride} != 0`;
    const limit = forward ? `params.in${d}` : `params.in${d} * ${stride}`;
    walk.push(`if (q${d} < 0 || q${d} >= ${limit}${divides}) { return -1; }`);
    walk.push(`offset += ${scale === 1 ? `q${d}` : `(q${d} / ${scale})`} * params.x_stride${d};`);
  }
  return {
    functions: `
struct Position { image: i32, ${fields} }
fn position(flat: u32) -> Position {
  var rest = flat;
  ${start.join('\n  ')}
  return Position(i32(rest) * params.x_image, ${axes.map((_, d) => `p${d}`).join(', ')});
}
fn tap_offset(at: Position, tap: u32) -> i32 {
  var taps = tap;
  var offset = at.image;
  ${walk.join('\n  ')}
  return offset;
}`,
    params,
    taps: axes.reduce((product, { kernel }) => product * kernel, 1),
  };
}
