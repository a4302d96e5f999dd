import { ofInput, type GroupNormInput } from './input.ts';

/** Reads of a thread that are on their way at once. */
const BLOCK = 4;

/**
 * `normalize(place, x_start, x_step, y_start, y_end, y_step, mean, factor, addend)`: stores
 * `epilogue((x - mean) * factor + addend)` at elements `y_start`, `y_start + y_step`, … before `y_end`, x being the vec4s at
 * `x_start`, `x_start + x_step`, … of the place's tensor.
 *
 * @param rolled one vec4 at a time, as in `momentsCode`
 */
export function normalizeCode(input: GroupNormInput, rolled: boolean): string {
  const each = (text: (k: number) => string): string =>
    Array.from({ length: BLOCK }, (_, k) => text(k)).join('\n    ');
  const store = (value: string, at: string): string =>
    `y_store4(${at}, epilogue((${value} - mean) * factor + addend, ${at}));`;
  const blocks = (
    tensor: string,
  ): string => `for (; i + ${BLOCK - 1}u * y_step < y_end; i += ${BLOCK}u * y_step) {
    ${each((n) => `let v${n} = ${tensor}_load4(k + ${n}u * x_step);`)}
    ${each((n) => store(`v${n}`, `i + ${n}u * y_step`))}
    k += ${BLOCK}u * x_step;
  }
  `;
  return ofInput(input, {
    name: 'normalize',
    parameters: {
      x_start: 'u32',
      x_step: 'u32',
      y_start: 'u32',
      y_end: 'u32',
      y_step: 'u32',
      mean: 'vec4f',
      factor: 'vec4f',
      addend: 'vec4f',
    },
    body: (tensor) => `var k = x_start;
  var i = y_start;
  ${rolled ? '' : blocks(tensor)}for (; i < y_end; i += y_step) {
    ${store(`${tensor}_load4(k)`, 'i')}
    k += x_step;
  }`,
  });
}
