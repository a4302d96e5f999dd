import { i32, u32, type Param } from '../shader.ts';

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
