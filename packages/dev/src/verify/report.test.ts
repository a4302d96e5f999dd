import { expect, test } from 'vitest';
import { formatRow, heading, summary } from './report.ts';
import type { Row } from './types.ts';

const row: Row = { name: 'a', status: 'passed', path: 'webgpu', maxAbs: 1.5e-5, relL2: 0, seconds: 1.234 };

test('rows line up with the heading', () => {
  const line = formatRow(row);
  expect(line).toMatch(/^a +webgpu +1\.50e-5 +0 +1\.23$/);
  expect(line).toHaveLength(heading().length);
});

test('what failed says so, and why', () => {
  expect(formatRow({ ...row, status: 'failed', detail: 'why\nhow' })).toMatch(
    /1\.23 FAILED\n {4}why\n {4}how$/,
  );
});

test('the last line counts', () => {
  const rows: Row[] = [row, row, { ...row, status: 'failed' }];
  expect(summary(rows)).toBe('2 passed, 1 failed');
  expect(summary([...rows, { ...row, status: 'unsupported' }])).toBe(
    '1 not supported yet\n2 passed, 1 failed',
  );
});
