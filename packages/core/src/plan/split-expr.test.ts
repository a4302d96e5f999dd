import { expect, test } from 'vitest';
import { call, input, printExpr, type Expr } from '../graph/expr.ts';
import { splitExpr } from './split-expr.ts';

const sum = (count: number): Expr =>
  Array.from({ length: count }, (_, i) => input(i)).reduce<Expr>((a, b) => call('add', [a, b]), input(0));

test('an expression of few operands stays whole', () => {
  expect(splitExpr(sum(7), 7, 7)).toHaveLength(1);
});

test('parts read at most the operands allowed and feed each other', () => {
  const parts = splitExpr(sum(8), 8, 3);
  expect(parts.map(({ expr, operands }) => `${printExpr(expr)} of ${operands.join()}`)).toEqual([
    'add(add(add(x0, x0), x1), x2) of 0,1,2',
    'add(add(x2, x0), x1) of 3,4,8',
    'add(add(x2, x0), x1) of 5,6,9',
    'add(x1, x0) of 7,10',
  ]);
});

test('where no two operands meet below the limit, single results are enough', () => {
  const wide = call('where', [
    call('less', [input(0), input(1)], 'bool'),
    call('add', [input(2), input(3)]),
    input(4),
  ]);
  const parts = splitExpr(wide, 5, 3);
  for (const { operands } of parts) expect(operands.length).toBeLessThanOrEqual(3);
  expect(parts[0]!.expr.type).toBe('bool');
});
