/** How to combine two values, in WGSL. */
export interface Combine {
  /** WGSL type of the values: `f32`, `vec4f`, … */
  type: string;
  /** Expression of `a` and `b`. */
  expr: string;
}

export const sumOf = (type: string): Combine => ({ type, expr: 'a + b' });
export const maxOf = (type: string): Combine => ({ type, expr: 'max(a, b)' });

/**
 * `fn NAME(v: T, thread: u32) -> T`: combines `v` over each run of `width` neighbouring threads of the workgroup, and
 * gives the result to all of them. Every thread of the workgroup must call it, from uniform control flow.
 *
 * Two rounds over workgroup memory in place of log2(width) of a tree: each barrier costs more than the few broadcast
 * reads between them.
 *
 * @param width a power of two
 * @param threads size of the workgroup, a multiple of `width`
 */
export function workgroupReduction(name: string, combine: Combine, width: number, threads: number): string {
  const { type, expr } = combine;
  const signature = `fn ${name}(v: ${type}, thread: u32) -> ${type}`;
  if (width === 1) return `${signature} { return v; }`;
  const two = `fn ${name}_two(a: ${type}, b: ${type}) -> ${type} { return ${expr}; }`;
  const round = (memory: string, first: string, step: number, count: number): string =>
    `var r = ${memory}[${first}];
  for (var k = 1u; k < ${count}u; k++) { r = ${name}_two(r, ${memory}[${first} + k * ${step}u]); }`;
  if (width <= 32) {
    return `${two}
var<workgroup> ${name}_memory: array<${type}, ${threads}>;
${signature} {
  workgroupBarrier();
  ${name}_memory[thread] = v;
  workgroupBarrier();
  let first = thread - thread % ${width}u;
  ${round(`${name}_memory`, 'first', 1, width)}
  return r;
}`;
  }
  // First round: thread j < step of a run takes every step'th value from j on, so that neighbours read neighbours.
  const step = width >= 512 ? 32 : 16;
  return `${two}
var<workgroup> ${name}_memory: array<${type}, ${threads}>;
var<workgroup> ${name}_second: array<${type}, ${(threads / width) * step}>;
fn ${name}_part(first: u32) -> ${type} {
  ${round(`${name}_memory`, 'first', step, width / step)}
  return r;
}
${signature} {
  workgroupBarrier();
  ${name}_memory[thread] = v;
  workgroupBarrier();
  let own = thread % ${width}u;
  let second = thread / ${width}u * ${step}u;
  if (own < ${step}u) { ${name}_second[second + own] = ${name}_part(thread); }
  workgroupBarrier();
  ${round(`${name}_second`, 'second', 1, step)}
  return r;
}`;
}
