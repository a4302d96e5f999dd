import { describe, expect, test } from 'vitest';
import { evaluate } from './evaluate.ts';
import { call, constant, type Expr, input, printExpr } from './expr.ts';
import { simplify } from './simplify.ts';

const [x, y] = [input(0), input(1)];
const add = (a: Expr, b: Expr): Expr => call('add', [a, b]);
const mul = (a: Expr, b: Expr): Expr => call('mul', [a, b]);
const div = (a: Expr, b: Expr): Expr => call('div', [a, b]);
const of = (fn: string, a: Expr): Expr => call(fn, [a]);
const number = (value: number): Expr => constant(value);
const erfPart = (a: Expr, root = Math.SQRT2): Expr => add(of('erf', div(a, number(root))), number(1));
const cubic = (a: Expr): Expr =>
  of('tanh', mul(number(0.7978845608), add(a, mul(number(0.044715), call('pow', [a, number(3)])))));
const bias = add(x, y);

/** Spellings that exporters use. */
const spellings: [string, Expr, string][] = [
  ['SiLU', mul(x, of('sigmoid', x)), 'silu(x0)'],
  ['SiLU, sigmoid first', mul(of('sigmoid', x), x), 'silu(x0)'],
  ['SiLU by exp', div(x, add(number(1), of('exp', of('neg', x)))), 'silu(x0)'],
  ['SiLU of a sum', mul(bias, of('sigmoid', bias)), 'silu(add(x0, x1))'],
  ['SiLU times something', mul(mul(y, of('sigmoid', x)), x), 'mul(x1, silu(x0))'],
  ['quick GELU', mul(x, of('sigmoid', mul(number(1.702), x))), 'quickGelu(x0)'],
  ['quick GELU in half precision', mul(x, of('sigmoid', mul(x, number(1.7021484)))), 'quickGelu(x0)'],
  ['swish', mul(x, of('sigmoid', mul(x, number(1.5)))), 'swish(x0, 1.5)'],
  ['GELU', mul(mul(x, erfPart(x)), number(0.5)), 'gelu(x0)'],
  ['GELU, half first', mul(number(0.5), mul(erfPart(x), x)), 'gelu(x0)'],
  ['GELU, halved x', mul(mul(number(0.5), x), erfPart(x)), 'gelu(x0)'],
  [
    'GELU by product in half precision',
    mul(mul(x, number(0.5)), add(number(1), of('erf', mul(x, number(0.70703125))))),
    'gelu(x0)',
  ],
  ['GELU in half precision', mul(mul(x, erfPart(x, 1.4140625)), number(0.5)), 'gelu(x0)'],
  ['GELU of a sum', mul(mul(bias, erfPart(bias)), number(0.5)), 'gelu(add(x0, x1))'],
  ['GEGLU', mul(y, mul(mul(x, erfPart(x)), number(0.5))), 'mul(x1, gelu(x0))'],
  ['GELU of a product', mul(mul(mul(x, y), erfPart(mul(x, y))), number(0.5)), 'gelu(mul(x0, x1))'],
  ['GELU by tanh', mul(mul(number(0.5), x), add(number(1), cubic(x))), 'geluTanh(x0)'],
  [
    'GELU by tanh, factored',
    mul(
      mul(x, number(0.5)),
      add(
        of('tanh', mul(mul(x, number(0.7978845608)), add(mul(mul(x, x), number(0.044715)), number(1)))),
        number(1),
      ),
    ),
    'geluTanh(x0)',
  ],
  ['softplus', of('log', add(of('exp', x), number(1))), 'softplus(x0)'],
  ['Mish', mul(x, of('tanh', of('softplus', x))), 'mish(x0)'],
  ['sigmoid', div(number(1), add(number(1), of('exp', of('neg', x)))), 'sigmoid(x0)'],
  ['sigmoid by reciprocal', of('reciprocal', add(of('exp', of('neg', x)), number(1))), 'sigmoid(x0)'],
  ['constants of a product', mul(mul(mul(number(2), x), y), number(3)), 'mul(mul(x0, x1), 6)'],
  ['neutral elements', add(mul(div(x, number(1)), number(1)), number(0)), 'x0'],
  ['constant parts', add(x, mul(number(2), number(3))), 'add(x0, 6)'],
  ['a root below', div(x, of('sqrt', y)), 'mul(x0, rsqrt(x1))'],
  ['negation twice', of('neg', of('neg', x)), 'x0'],
  ['conversions to the same type', call('toF32', [x]), 'x0'],
];

/** What must be left alone. */
const lookalikes: [string, Expr][] = [
  ['sigmoid of something else', mul(x, of('sigmoid', y))],
  ['erf without the half', add(of('erf', x), number(2))],
  ['GELU with another root', mul(mul(x, erfPart(x, 2)), number(0.5))],
  [
    'GELU by tanh with another cube',
    mul(mul(x, number(0.5)), add(of('tanh', mul(x, call('pow', [x, number(3)]))), number(1))),
  ],
  ['x times zero, which may be NaN', mul(x, number(0))],
];

describe('simplify', () => {
  test.each(spellings)('%s', (_, expr, wanted) => {
    const simple = simplify(expr);
    expect(printExpr(simple)).toBe(wanted);
    expectEqual(simple, expr);
  });

  test.each(lookalikes)('leaves %s', (_, expr) => {
    const simple = simplify(expr);
    expect(printExpr(simple)).not.toMatch(/gelu|silu|mish/i);
    expectEqual(simple, expr);
    const nan = (e: Expr): number => evaluate(e, [tensor([NaN]), tensor([NaN])], [1])[0]!;
    expect(nan(simple)).toBe(nan(expr));
  });

  test('is done once: nothing is left to simplify', () => {
    for (const [, expr] of spellings) {
      const once = simplify(expr);
      expect(printExpr(simplify(once))).toBe(printExpr(once));
    }
  });
});

const samples = [-3, -1.1, -0.2, 0.4, 1.3, 2.7];

function tensor(data: readonly number[]) {
  return { dtype: 'float32', shape: [data.length], data: Float64Array.from(data) } as const;
}

function expectEqual(actual: Expr, wanted: Expr): void {
  const operands = [tensor(samples), tensor([0.6, 1.9, 2.2, 0.9, 3.1, 0.1])];
  const [a, b] = [actual, wanted].map((expr) => evaluate(expr, operands, [samples.length]));
  a!.forEach((number, i) => expect(number).toBeCloseTo(b![i]!, 2));
}
