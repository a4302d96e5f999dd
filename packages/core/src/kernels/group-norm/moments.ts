import { ofInput, type GroupNormInput } from './input.ts';

/** Reads of a thread that are on their way at once. */
const BLOCK = 8;

/**
 * `moments(place, start, end, step) -> Moments`: count, mean and sum of squared deviations of the vec4s of the input from
 * element `start` of the place's tensor to before `end`, `step` elements apart; each of the four channels for itself.
 *
 * @param rolled one vec4 at a time: for processors, which wait for compilers rather than for reads
 */
export function momentsCode(input: GroupNormInput, rolled: boolean): string {
  return `struct Moments { mean: vec4f, squares: vec4f, count: f32 }
${ofInput(input, {
  name: 'moments',
  parameters: { start: 'u32', end: 'u32', step: 'u32' },
  returns: 'Moments',
  body: rolled ? oneByOne : inBlocks,
})}`;
}

/** Welford's: no sums of squares either. */
function oneByOne(tensor: string): string {
  return `var m = Moments(vec4f(), vec4f(), 0.0);
  for (var i = start; i < end; i += step) {
    let v = ${tensor}_load4(i);
    let delta = v - m.mean;
    m.count += 1.0;
    m.mean += delta / m.count;
    m.squares += delta * (v - m.mean);
  }
  return m;`;
}

/**
 * Blocks are merged by Chan's formula: no large sums of squares, so f16 activations up to 65504 lose nothing. The last
 * block is masked: a loop over what is left would wait for each read.
 */
function inBlocks(tensor: string): string {
  const each = (text: (k: number) => string, separator = '\n    '): string =>
    Array.from({ length: BLOCK }, (_, k) => text(k)).join(separator);
  return `var m = Moments(vec4f(), vec4f(), 0.0);
  for (var i = start; i < end; i += ${BLOCK}u * step) {
    ${each((k) => `let inside${k} = i + ${k}u * step < end;`)}
    ${each((k) => `let v${k} = ${tensor}_load4(select(i, i + ${k}u * step, inside${k}));`)}
    ${each((k) => `let w${k} = select(0.0, 1.0, inside${k});`)}
    let count = ${each((k) => `w${k}`, ' + ')};
    let mean = (${each((k) => `w${k} * v${k}`, ' + ')}) / count;
    ${each((k) => `let d${k} = v${k} - mean;`)}
    let squares = ${each((k) => `w${k} * d${k} * d${k}`, ' + ')};
    let delta = mean - m.mean;
    let both = m.count + count;
    m.squares += squares + delta * delta * (m.count * count / both);
    m.mean += delta * (count / both);
    m.count = both;
  }
  return m;`;
}
