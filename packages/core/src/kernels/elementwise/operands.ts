import type { TensorView } from '../../plan/plan.ts';
import { denseOrder, expandView } from '../../plan/view.ts';
import { scalarOf, u32, type Param } from '../shader.ts';

/** WGSL that reads operands for four neighbouring elements of an output, whatever views they are. */
export interface OperandCode {
  /** One `fn NAME_at(i: u32) -> vec4<T>` for each operand; `i` is the output's element index in memory, a multiple of 4. */
  functions: string;
  params: Record<string, Param>;
}

/**
 * Generates the readers. Each operand broadcasts to the output's shape. Axes that every operand walks like the output
 * are merged first, so that the usual cases (same layout, scalar, per-channel) need no or one division.
 *
 * @param output a view dense in some order; its memory order is the order of iteration
 * @param prefix keeps the params of several generators in one shader apart
 */
export function operandReaders(
  output: TensorView,
  operands: Readonly<Record<string, TensorView>>,
  prefix: string,
): OperandCode {
  const names = Object.keys(operands);
  const views = names.map((name) => expandView(operands[name]!, output.shape));
  const { dims, strides } = mergeAxes(output, views);
  const params: Record<string, Param> = {};
  const rank = dims.length;
  const functions: string[] = [];
  // Only axes that some operand cannot walk flat are needed as numbers at run time.
  const dim = (axis: number): string => {
    params[`${prefix}d${axis}`] = u32(dims[axis]!);
    return `params.${prefix}d${axis}`;
  };
  names.forEach((name, k) => {
    const type = scalarOf(views[k]!.storage);
    const own = strides.map((axis) => axis[k]!);
    const offset = views[k]!.offset;
    const addend = (): string => {
      if (offset === 0) return '';
      params[`${prefix}o${k}`] = u32(offset);
      return ` + params.${prefix}o${k}`;
    };
    const emit = (body: string): void => {
      functions.push(`fn ${name}_at(i: u32) -> vec4<${type}> { ${body} }`);
    };
    const each = (index: (lane: number) => string): string =>
      `return vec4<${type}>(${[0, 1, 2, 3].map((lane) => `${name}_load(${index(lane)})`).join(', ')});`;

    if (own.every((stride) => stride === 0)) {
      emit(`return vec4<${type}>(${name}_load(0u${addend()}));`);
      return;
    }
    if (rank === 1 && own[0] === 1) {
      emit(
        offset % 4 === 0 ? `return ${name}_load4(i${addend()});` : each((lane) => `i${addend()} + ${lane}u`),
      );
      return;
    }
    const stride = (axis: number): string => {
      if (own[axis] === 1) return '';
      params[`${prefix}s${k}_${axis}`] = u32(own[axis]! >>> 0);
      return ` * params.${prefix}s${k}_${axis}`;
    };
    /** Statements that leave the operand's index in `index`, from the output index in `rest`. */
    const walk = (): string => {
      let code = `var index = 0u${addend()}; `;
      for (let axis = rank - 1; axis >= 0; axis--) {
        const last = own.slice(0, axis).every((s) => s === 0);
        if (own[axis] !== 0) {
          code +=
            axis === 0 ? `index += rest${stride(0)}; ` : `index += (rest % ${dim(axis)})${stride(axis)}; `;
        }
        if (last) break;
        code += `rest = rest / ${dim(axis)}; `;
      }
      return code;
    };
    const inner = own[rank - 1]!;
    if (dims[rank - 1]! % 4 === 0) {
      const aligned = offset % 4 === 0 && own.slice(0, -1).every((s) => s % 4 === 0);
      const read =
        inner === 0
          ? `return vec4<${type}>(${name}_load(index));`
          : inner === 1 && aligned
            ? `return ${name}_load4(index);`
            : each((lane) => `index + ${lane}u${stride(rank - 1)}`);
      emit(`var rest = i; ${walk()}${read}`);
    } else {
      functions.push(`fn ${name}_index(i: u32) -> u32 { var rest = i; ${walk()}return index; }`);
      emit(each((lane) => `${name}_index(i + ${lane}u)`));
    }
  });
  return { functions: functions.join('\n'), params };
}

/** Axes in memory order, merged where the output and all operands allow it; `strides[axis][operand]`. */
function mergeAxes(
  output: TensorView,
  views: readonly TensorView[],
): { dims: number[]; strides: number[][] } {
  const order = denseOrder(output);
  if (!order || output.offset !== 0) throw new Error('Internal error: elementwise output is not dense');
  const dims: number[] = [];
  const strides: number[][] = [];
  for (const axis of order) {
    const size = output.shape[axis]!;
    if (size === 1) continue;
    const own = views.map((view) => view.strides[axis]!);
    const outer = strides.at(-1);
    if (outer && own.every((stride, k) => outer[k] === stride * size)) {
      dims[dims.length - 1]! *= size;
      strides[strides.length - 1] = own;
    } else {
      dims.push(size);
      strides.push(own);
    }
  }
  return dims.length > 0 ? { dims, strides } : { dims: [1], strides: [views.map(() => 1)] };
}
