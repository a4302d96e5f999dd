import type { Row } from './types.ts';

const columns = { name: 44, path: 34, number: 10, seconds: 9 };

/** The table's heading. */
export function heading(): string {
  return [
    'name'.padEnd(columns.name),
    'path'.padEnd(columns.path),
    'max abs'.padStart(columns.number),
    'rel L2'.padStart(columns.number),
    'seconds'.padStart(columns.seconds),
  ].join(' ');
}

/** One line of the table, and a second one where there is something to explain. */
export function formatRow(row: Row): string {
  const line = [
    row.name.padEnd(columns.name),
    row.path.padEnd(columns.path),
    formatNumber(row.maxAbs).padStart(columns.number),
    formatNumber(row.relL2).padStart(columns.number),
    row.seconds.toFixed(2).padStart(columns.seconds),
    row.status === 'passed' ? '' : row.status.toUpperCase(),
  ].join(' ');
  return row.detail ? `${line.trimEnd()}\n    ${row.detail.replaceAll('\n', '\n    ')}` : line.trimEnd();
}

/** The closing lines; the last is `N passed, N failed`. */
export function summary(rows: Row[]): string {
  const count = (status: Row['status']): number => rows.filter((row) => row.status === status).length;
  const unsupported = count('unsupported');
  const lines = [`${count('passed')} passed, ${count('failed')} failed`];
  if (unsupported) lines.unshift(`${unsupported} not supported yet`);
  return lines.join('\n');
}

function formatNumber(value: number | undefined): string {
  if (value === undefined) return '–';
  return value === 0 ? '0' : value.toExponential(2);
}
