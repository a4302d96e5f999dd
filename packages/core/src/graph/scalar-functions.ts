import type { ScalarType } from './expr.ts';

/** One function on scalars, in both languages. */
export interface ScalarFunction {
  js: (...args: number[]) => number;
  /** Expression over vec4 operands. `type` is the type of the result. */
  wgsl(args: string[], type: ScalarType): string;
  /** WGSL functions that the expression calls, each in a text of its own: a shader gets every text once. */
  helpers?: string | readonly string[];
}

const infix = (operator: string, js: (a: number, b: number) => number): ScalarFunction => ({
  js,
  wgsl: ([a, b]) => `(${a} ${operator} ${b})`,
});

const builtin = (name: string, js: (...args: number[]) => number): ScalarFunction => ({
  js,
  wgsl: (args) => `${name}(${args.join(', ')})`,
});

/** A function written in WGSL over vec4f; `body` is the text after `fn NAME`. */
const written = (name: string, js: (...args: number[]) => number, body: string): ScalarFunction => ({
  js,
  wgsl: (args) => `${name}(${args.join(', ')})`,
  helpers: `fn ${name}${body}`,
});

const compare = (operator: string, js: (a: number, b: number) => boolean): ScalarFunction =>
  infix(operator, (a, b) => Number(js(a, b)));

const cast = (type: ScalarType, js: (x: number) => number): ScalarFunction => ({
  js,
  wgsl: ([a]) => `vec4<${type}>(${a})`,
});

/**
 * Error function in double precision: Taylor series below 2.5, continued fraction of erfc above (Abramowitz and Stegun
 * 7.1.5 and 7.1.14).
 */
function erf(x: number): number {
  const z = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 200; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * ((2 / Math.sqrt(Math.PI)) * sum);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Rounds halves to even, as ONNX Round and WGSL round do. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

// tanh of drivers overflows to NaN beyond |x| of about 44 (exp of twice that); it is 1 to f32 precision from 10 on.
const TANH = 'fn tanh_safe(x: vec4f) -> vec4f { return tanh(clamp(x, vec4f(-15.0), vec4f(15.0))); }';

// WGSL allows sin and cos an absolute error of 2^-11 near 0 and any beyond π; the time steps of a sampler are up to 1000.
// Here: subtraction of quarter turns by a pi / 2 in three parts, then the polynomials of Cephes' sinf and cosf; a few
// units in the last place up to 8192. `quarters` are added to the angle, so that 1 gives the cosine.
const SINE = `fn sine(x: vec4f, quarters: vec4i) -> vec4f {
  let turns = round(x * 0.6366197723675814);
  let r = ((x - turns * 1.5703125) - turns * 4.837512969970703e-4) - turns * 7.549789948768648e-8;
  let z = r * r;
  let s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
  let c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  let quadrant = vec4i(turns) + quarters;
  let v = select(s, c, (quadrant & vec4i(1)) == vec4i(1));
  return select(v, -v, (quadrant & vec4i(2)) == vec4i(2));
}`;
const TANGENT = 'fn tangent(x: vec4f) -> vec4f { return sine(x, vec4i(0)) / sine(x, vec4i(1)); }';

// Abramowitz and Stegun 7.1.26: absolute error at most 1.5e-7, which is f32 precision near 1.
const ERF = `fn erf(x: vec4f) -> vec4f {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - poly * exp(-z * z));
}`;

// WGSL allows division 2.5 units in the last place. Halves of 12 bits multiply without rounding, so what is left of the
// dividend is exact, and adding its quotient rounds once. Where parts vanish below the smallest floats, what is left is
// no small part of the dividend any more, and the plain quotient stays.
const QUOTIENT = `fn quotient(a: vec4f, b: vec4f) -> vec4f {
  let q = a / b;
  let q_high = bitcast<vec4f>(bitcast<vec4u>(q) & vec4u(0xfffff000u));
  let b_high = bitcast<vec4f>(bitcast<vec4u>(b) & vec4u(0xfffff000u));
  let q_low = q - q_high;
  let b_low = b - b_high;
  let rest = (((a - q_high * b_high) - q_high * b_low) - q_low * b_high) - q_low * b_low;
  return select(q, q + rest / b, abs(rest) <= abs(a) * 1e-6);
}`;

/** WGSL for powers of integers by squaring, modulo 2^32. */
function integerPower(type: ScalarType): string {
  const vec = `vec4<${type}>`;
  const inverse = type === 'u32' ? 'result' : `select(result, ${vec}(1) / result, n < ${vec}(0))`;
  return `fn ipow_${type}(x: ${vec}, n: ${vec}) -> ${vec} {
  var result = ${vec}(1);
  var factor = x;
  var rest = vec4u(${type === 'u32' ? 'n' : 'abs(n)'});
  for (var bit = 0u; bit < 32u && any(rest > vec4u(0)); bit++) {
    result = select(result, result * factor, (rest & vec4u(1)) == vec4u(1));
    factor *= factor;
    rest >>= vec4u(1);
  }
  return ${inverse};
}`;
}

/** Keeps the low `bits` of an integer, with or without their highest as the sign. */
function wrap(bits: number, signed: boolean): ScalarFunction {
  const range = 2 ** bits;
  const low = (x: number): number => ((x % range) + range) % range;
  return {
    js: signed ? (x) => low(x + range / 2) - range / 2 : low,
    wgsl: ([x]) => `extractBits(${x}, 0u, ${bits}u)`,
  };
}

const word = new DataView(new ArrayBuffer(4));

function floatBits(x: number): number {
  word.setFloat32(0, x);
  return word.getUint32(0);
}

function floatOfBits(bits: number): number {
  word.setUint32(0, bits >>> 0);
  return word.getFloat32(0);
}

/** Every function that an expression may call. */
export const scalarFunctions: Readonly<Record<string, ScalarFunction>> = {
  add: infix('+', (a, b) => a + b),
  sub: infix('-', (a, b) => a - b),
  mul: infix('*', (a, b) => a * b),
  div: infix('/', (a, b) => a / b),
  /** The float nearest to a / b, as IEEE 754 has it: for what is rounded to whole numbers next. */
  quotient: {
    js: (a, b) => Math.fround(a / b),
    wgsl: ([a, b]) => `quotient(${a}, ${b})`,
    helpers: QUOTIENT,
  },
  /** Integer division, truncating. WGSL leaves division by zero defined (the dividend). */
  idiv: infix('/', (a, b) => (b === 0 ? a : Math.trunc(a / b))),
  /** Remainder with the sign of the dividend (C's fmod and %). */
  rem: infix('%', (a, b) => a % b),
  /** Remainder with the sign of the divisor (Python's %). */
  mod: {
    js: (a, b) => {
      const rest = a % b;
      return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
    },
    wgsl: ([a, b], type) => (type === 'f32' ? `floor_mod(${a}, ${b})` : `(((${a} % ${b}) + ${b}) % ${b})`),
    // WGSL's remainder by an infinity is NaN; C's and Python's is the dividend.
    helpers: `fn floor_mod(a: vec4f, b: vec4f) -> vec4f {
  let infinite = (bitcast<vec4u>(b) & vec4u(0x7fffffffu)) == vec4u(0x7f800000u);
  let finite = (bitcast<vec4u>(a) & vec4u(0x7fffffffu)) < vec4u(0x7f800000u);
  let rest = select(a % b, a, infinite & finite);
  return select(rest, rest + b, (rest != vec4f(0.0)) & ((rest < vec4f(0.0)) != (b < vec4f(0.0))));
}`,
  },
  pow: {
    ...written(
      'power',
      Math.pow,
      // WGSL's pow is undefined for negative bases; ONNX (C's pow) is not, for whole exponents.
      `(x: vec4f, y: vec4f) -> vec4f {
  let magnitude = pow(abs(x), y);
  let odd = abs(y - 2.0 * floor(y * 0.5)) == vec4f(1.0);
  let signed = select(magnitude, select(magnitude, -magnitude, odd), x < vec4f(0.0));
  return select(signed, vec4f(1.0), y == vec4f(0.0));
}`,
    ),
  },
  min: builtin('min', Math.min),
  max: builtin('max', Math.max),
  neg: { js: (x) => -x, wgsl: ([a]) => `(-${a})` },
  abs: builtin('abs', Math.abs),
  sign: builtin('sign', Math.sign),
  sqrt: builtin('sqrt', Math.sqrt),
  rsqrt: builtin('inverseSqrt', (x) => 1 / Math.sqrt(x)),
  reciprocal: { js: (x) => 1 / x, wgsl: ([a]) => `(1.0 / ${a})` },
  exp: builtin('exp', Math.exp),
  log: builtin('log', Math.log),
  floor: builtin('floor', Math.floor),
  ceil: builtin('ceil', Math.ceil),
  trunc: builtin('trunc', Math.trunc),
  round: builtin('round', roundEven),
  sin: { js: Math.sin, wgsl: ([a]) => `sine(${a}, vec4i(0))`, helpers: SINE },
  cos: { js: Math.cos, wgsl: ([a]) => `sine(${a}, vec4i(1))`, helpers: SINE },
  tan: { js: Math.tan, wgsl: ([a]) => `tangent(${a})`, helpers: [SINE, TANGENT] },
  asin: builtin('asin', Math.asin),
  acos: builtin('acos', Math.acos),
  atan: builtin('atan', Math.atan),
  sinh: builtin('sinh', Math.sinh),
  cosh: builtin('cosh', Math.cosh),
  asinh: builtin('asinh', Math.asinh),
  acosh: builtin('acosh', Math.acosh),
  atanh: builtin('atanh', Math.atanh),
  tanh: { js: Math.tanh, wgsl: ([a]) => `tanh_safe(${a})`, helpers: TANH },
  erf: { js: erf, wgsl: ([a]) => `erf(${a})`, helpers: ERF },
  sigmoid: { js: sigmoid, wgsl: ([a]) => `(1.0 / (1.0 + exp(-${a})))` },
  softplus: written(
    'softplus',
    (x) => (x > 20 ? x : Math.log1p(Math.exp(x))),
    '(x: vec4f) -> vec4f { return max(x, vec4f(0.0)) + log(1.0 + exp(-abs(x))); }',
  ),
  silu: written('silu', (x) => x * sigmoid(x), '(x: vec4f) -> vec4f { return x / (1.0 + exp(-x)); }'),
  quickGelu: written(
    'quick_gelu',
    (x) => x * sigmoid(1.702 * x),
    '(x: vec4f) -> vec4f { return x / (1.0 + exp(-1.702 * x)); }',
  ),
  gelu: {
    js: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
    wgsl: ([a]) => `gelu(${a})`,
    helpers: [ERF, `fn gelu(x: vec4f) -> vec4f { return 0.5 * x * (1.0 + erf(x * 0.7071067811865476)); }`],
  },
  geluTanh: {
    js: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    wgsl: ([a]) => `gelu_tanh(${a})`,
    helpers: [
      TANH,
      `fn gelu_tanh(x: vec4f) -> vec4f { return 0.5 * x * (1.0 + tanh_safe(0.7978845608028654 * (x + 0.044715 * x * x * x))); }`,
    ],
  },
  /** x·sigmoid(αx). */
  swish: written(
    'swish',
    (x, alpha) => x * sigmoid(alpha * x),
    '(x: vec4f, alpha: vec4f) -> vec4f { return x / (1.0 + exp(-alpha * x)); }',
  ),
  leakyRelu: written(
    'leaky_relu',
    (x, slope) => (x < 0 ? slope * x : x),
    '(x: vec4f, slope: vec4f) -> vec4f { return select(x, slope * x, x < vec4f(0.0)); }',
  ),
  leakyReluInt: {
    js: (x, slope) => (x < 0 ? slope * x : x),
    wgsl: ([x, slope], type) => `select(${x}, ${slope} * ${x}, ${x} < vec4<${type}>(0))`,
  },
  thresholdedRelu: written(
    'thresholded_relu',
    (x, alpha) => (x > alpha ? x : 0),
    '(x: vec4f, alpha: vec4f) -> vec4f { return select(vec4f(0.0), x, x > alpha); }',
  ),
  elu: written(
    'elu',
    (x, alpha) => (x < 0 ? alpha * Math.expm1(x) : x),
    '(x: vec4f, alpha: vec4f) -> vec4f { return select(x, alpha * (exp(x) - 1.0), x < vec4f(0.0)); }',
  ),
  celu: written(
    'celu',
    (x, alpha) => (x < 0 ? alpha * Math.expm1(x / alpha) : x),
    '(x: vec4f, alpha: vec4f) -> vec4f { return select(x, alpha * (exp(x / alpha) - 1.0), x < vec4f(0.0)); }',
  ),
  selu: written(
    'selu',
    (x, alpha, gamma) => gamma * (x > 0 ? x : alpha * Math.expm1(x)),
    '(x: vec4f, alpha: vec4f, gamma: vec4f) -> vec4f { return gamma * select(alpha * (exp(x) - 1.0), x, x > vec4f(0.0)); }',
  ),
  hardSigmoid: written(
    'hard_sigmoid',
    (x, alpha, beta) => Math.min(Math.max(alpha * x + beta, 0), 1),
    '(x: vec4f, alpha: vec4f, beta: vec4f) -> vec4f { return saturate(alpha * x + beta); }',
  ),
  hardSwish: written(
    'hard_swish',
    (x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1),
    '(x: vec4f) -> vec4f { return x * saturate(x / 6.0 + 0.5); }',
  ),
  mish: {
    js: (x) => x * Math.tanh(x > 20 ? x : Math.log1p(Math.exp(x))),
    wgsl: ([x]) => `mish(${x})`,
    // tanh(log(1 + e)) is (e² + 2e) / (e² + 2e + 2); from 20 on it is 1.
    helpers: `fn mish(x: vec4f) -> vec4f {
  let e = exp(min(x, vec4f(20.0)));
  let n = e * (e + 2.0);
  return x * n / (n + 2.0);
}`,
  },
  shrink: written(
    'shrink',
    (x, lambd, bias) => (x < -lambd ? x + bias : x > lambd ? x - bias : 0),
    `(x: vec4f, lambd: vec4f, bias: vec4f) -> vec4f {
  return select(select(vec4f(0.0), x - bias, x > lambd), x + bias, x < -lambd);
}`,
  ),
  softsign: written(
    'softsign',
    (x) => x / (1 + Math.abs(x)),
    '(x: vec4f) -> vec4f { return x / (1.0 + abs(x)); }',
  ),
  square: written('square', (x) => x * x, '(x: vec4f) -> vec4f { return x * x; }'),
  cube: written('cube', (x) => x * x * x, '(x: vec4f) -> vec4f { return x * x * x; }'),
  /** Power of integers; negative exponents give what division by the power truncates to. */
  ipow: {
    js: (x, n) => Math.trunc(x ** n),
    wgsl: ([x, n], type) => `ipow_${type}(${x}, ${n})`,
    helpers: [integerPower('i32'), integerPower('u32')],
  },
  /** A float that is a whole number but for rounding becomes that number; others stay. */
  nearWhole: written(
    'near_whole',
    (x) => (Math.abs(x - Math.round(x)) <= 1e-5 * Math.abs(x) ? Math.round(x) : x),
    '(x: vec4f) -> vec4f { return select(x, round(x), abs(x - round(x)) <= 1e-5 * abs(x)); }',
  ),
  bitAnd: infix('&', (a, b) => Number(BigInt(a) & BigInt(b))),
  bitOr: infix('|', (a, b) => Number(BigInt(a) | BigInt(b))),
  bitXor: infix('^', (a, b) => Number(BigInt(a) ^ BigInt(b))),
  bitNot: { js: (x) => -x - 1, wgsl: ([x]) => `(~${x})` },
  /** Shifts by 32 and more leave what their mathematics says: nothing, or the sign. */
  shiftLeft: {
    js: (x, n) => (n < 32 ? x * 2 ** n : 0),
    wgsl: ([x, n], type) => `select(vec4<${type}>(0), ${x} << (${n} & vec4u(31)), ${n} < vec4u(32))`,
  },
  shiftRight: {
    js: (x, n) => Math.floor(x / 2 ** Math.min(n, 63)),
    wgsl: ([x, n]) => `(${x} >> min(${n}, vec4u(31)))`,
  },
  /** What 32-bit arithmetic does by itself on the GPU. */
  wrapI32: { js: (x) => x | 0, wgsl: ([x]) => x! },
  wrapU32: { js: (x) => x >>> 0, wgsl: ([x]) => x! },
  wrapI4: wrap(4, true),
  wrapI8: wrap(8, true),
  wrapI16: wrap(16, true),
  wrapU4: wrap(4, false),
  wrapU8: wrap(8, false),
  wrapU16: wrap(16, false),
  eq: compare('==', (a, b) => a === b),
  lt: compare('<', (a, b) => a < b),
  le: compare('<=', (a, b) => a <= b),
  gt: compare('>', (a, b) => a > b),
  ge: compare('>=', (a, b) => a >= b),
  and: { js: (a, b) => Number(a !== 0 && b !== 0), wgsl: ([a, b]) => `(${a} & ${b})` },
  or: { js: (a, b) => Number(a !== 0 || b !== 0), wgsl: ([a, b]) => `(${a} | ${b})` },
  xor: { js: (a, b) => Number((a !== 0) !== (b !== 0)), wgsl: ([a, b]) => `(${a} != ${b})` },
  not: { js: (a) => Number(a === 0), wgsl: ([a]) => `(!${a})` },
  /** `select(condition, a, b)`: a where the condition holds. */
  select: { js: (c, a, b) => (c !== 0 ? a : b), wgsl: ([c, a, b]) => `select(${b}, ${a}, ${c})` },
  isNaN: {
    js: (x) => Number(Number.isNaN(x)),
    wgsl: ([a]) => `((bitcast<vec4u>(${a}) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u))`,
  },
  isInf: {
    js: (x) => Number(Math.abs(x) === Infinity),
    wgsl: ([a]) => `((bitcast<vec4u>(${a}) & vec4u(0x7fffffffu)) == vec4u(0x7f800000u))`,
  },
  isPositiveInf: {
    js: (x) => Number(x === Infinity),
    wgsl: ([a]) => `(bitcast<vec4u>(${a}) == vec4u(0x7f800000u))`,
  },
  isNegativeInf: {
    js: (x) => Number(x === -Infinity),
    wgsl: ([a]) => `(bitcast<vec4u>(${a}) == vec4u(0xff800000u))`,
  },
  bitsToI32: { js: (x) => floatBits(x) | 0, wgsl: ([a]) => `bitcast<vec4i>(${a})` },
  bitsToU32: { js: (x) => floatBits(x) >>> 0, wgsl: ([a]) => `bitcast<vec4u>(${a})` },
  bitsToF32: { js: floatOfBits, wgsl: ([a]) => `bitcast<vec4f>(${a})` },
  toF32: cast('f32', (x) => x),
  toI32: cast('i32', Math.trunc),
  toU32: cast('u32', Math.trunc),
  toBool: {
    js: (x) => Number(x !== 0),
    wgsl: ([a]) => `vec4<bool>(${a})`,
  },
};
