import type { Measured, Row } from './types.ts';

/** One table of all rows, in Markdown. */
export function rowsTable(rows: readonly Row[]): string {
  const head = [
    '| scenario | engine | flags | median | range | relative L2 | peak | dispatches | |',
    '| --- | --- | --- | --: | --: | --: | --: | --: | --- |',
  ];
  return [...head, ...rows.map((row) => `| ${cells(row).join(' | ')} |`)].join('\n');
}

function cells(row: Row): string[] {
  const key = [`\`${row.scenario}\``, row.engine, row.flags ?? ''];
  if (row.error !== undefined) return [...key, '', '', '', '', '', row.error.replaceAll(/[|\n]/g, ' ')];
  return [
    ...key,
    milliseconds(row.medianMs),
    `${milliseconds(row.minMs)} to ${milliseconds(row.maxMs)}`,
    row.relativeL2?.toExponential(1) ?? '',
    row.peakBytes === null ? '' : mebibytes(row.peakBytes),
    row.dispatches?.toString() ?? '',
    notes(row).join(', '),
  ];
}

/** What a row says beside its columns. */
export function notes(row: Measured): string[] {
  const stages = Object.entries(row.stages ?? {}).map(([name, ms]) => `${name} ${milliseconds(ms)}`);
  return [
    ...stages,
    row.imagesPerSecond !== undefined && `${row.imagesPerSecond.toFixed(2)} images/s`,
    row.teraflops !== undefined && `${row.teraflops.toFixed(1)} TFLOP/s`,
    row.gigabytesPerSecond !== undefined && `${row.gigabytesPerSecond.toFixed(0)} GB/s`,
    row.plannedBytes !== undefined && `planned ${mebibytes(row.plannedBytes)}`,
    row.weightBytes !== undefined && `weights ${(row.weightBytes / 1e9).toFixed(3)} GB`,
    row.coldMs !== undefined && `first run ${milliseconds(row.coldMs)}`,
    row.relativeL2ToStored !== undefined &&
      `${row.relativeL2ToStored.toExponential(1)} from weights as stored (uniform noise, the hard case)`,
    row.storedMs !== undefined &&
      `${(row.medianMs / row.storedMs).toFixed(2)} times the ${milliseconds(row.storedMs)} of weights as stored`,
    row.settings,
  ].filter((note) => typeof note === 'string');
}

/** One row in a line. */
export function describe(row: Row): string {
  const head = [row.scenario, row.engine, row.flags].filter(Boolean).join(' ');
  if (row.error !== undefined) return `${head}: ${row.error}`;
  const parts = [
    `${milliseconds(row.medianMs)} (${milliseconds(row.minMs)} to ${milliseconds(row.maxMs)})`,
    row.dispatches !== null && `${row.dispatches} dispatches`,
    row.peakBytes !== null && mebibytes(row.peakBytes),
    row.relativeL2 === null ? 'no reference' : `relative L2 ${row.relativeL2.toExponential(1)}`,
    ...notes(row),
  ];
  return `${head} ${row.precision}: ${parts.filter(Boolean).join(', ')}`;
}

export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 1 ? 3 : ms < 100 ? 1 : 0)} ms`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
