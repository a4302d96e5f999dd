import { milliseconds } from './report.ts';
import { modes, type Mode, type RequestsRow } from './requests-types.ts';
import type { Row } from './types.ts';

const modelNames: Readonly<Record<RequestsRow['model'], string>> = {
  pocket: 'Pocket',
  sd15: 'Stable Diffusion 1.5',
};

/** One table of all rows, load by load, in Markdown. */
export function requestsTable(rows: readonly RequestsRow[]): string {
  const head = [
    '| scenario | flags | images/s | against stacked | latency p50 | p95 | GPU idle | requests a step |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ];
  const lines = rows.toSorted(byLoad).map((row) => {
    const stacked = rows.find((other) => other.mode === 'stacked' && isSameLoad(row, other));
    const gain = stacked ? `${(row.imagesPerSecond / stacked.imagesPerSecond).toFixed(2)} ×` : '';
    const cells = [
      `\`${row.name}\``,
      row.flags,
      row.imagesPerSecond.toFixed(2),
      gain,
      `${row.latencyP50Ms.toFixed(0)} ms`,
      `${row.latencyP95Ms.toFixed(0)} ms`,
      `${(row.gpuIdleShare * 100).toFixed(1)} %${row.clocked ? '' : ' (by the CPU)'}`,
      row.jobsPerStep.toFixed(1),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [...head, ...lines].join('\n');
}

function byLoad(a: RequestsRow, b: RequestsRow): number {
  return (
    a.model.localeCompare(b.model) ||
    a.size - b.size ||
    a.flags.localeCompare(b.flags) ||
    a.requests - b.requests ||
    modes.indexOf(a.mode) - modes.indexOf(b.mode)
  );
}

/** What control costs (`ControlScenario`), in Markdown. */
export function controlTable(rows: readonly Row[]): string {
  const head = ['| scenario | flags | median | longest | beside it |', '| --- | --- | --: | --: | --- |'];
  const lines = rows.flatMap((row) => {
    if (row.error !== undefined || !row.scenario.startsWith('requests-')) return [];
    const { stages } = row;
    const beside = Object.entries(stages ?? {}).map(([name, ms]) => `${name} ${milliseconds(ms)}`);
    const times = [milliseconds(row.medianMs), milliseconds(row.maxMs)];
    return `| ${[`\`${row.scenario}\``, row.flags, ...times, beside.join(', ')].join(' | ')} |`;
  });
  return [...head, ...lines].join('\n');
}

/** One row in a line. */
export function describeRequests(row: RequestsRow): string {
  return (
    `${row.name} ${row.flags} ${row.precision}: ${row.imagesPerSecond.toFixed(2)} images/s, ` +
    `p50 ${row.latencyP50Ms.toFixed(0)} ms, p95 ${row.latencyP95Ms.toFixed(0)} ms, ` +
    `GPU idle ${(row.gpuIdleShare * 100).toFixed(1)} %, ${row.jobsPerStep.toFixed(1)} requests a step`
  );
}

const colours: Readonly<Record<Mode, string>> = {
  stacked: '#9aa0a6',
  pipelined: '#4a7fb5',
  batched: '#c2571a',
};

/** What is drawn of each row: a panel a quantity. */
const quantities: readonly {
  label: string;
  of: (row: RequestsRow) => number;
  /** End of a thin line above the bar. */
  upTo?: (row: RequestsRow) => number;
  print: (value: number) => string;
}[] = [
  {
    label: 'images per second',
    of: ({ imagesPerSecond }) => imagesPerSecond,
    print: (value) => value.toFixed(1),
  },
  {
    label: 'latency in ms: p50 (bar, number) and p95 (line)',
    of: ({ latencyP50Ms }) => latencyP50Ms,
    upTo: ({ latencyP95Ms }) => latencyP95Ms,
    print: (value) => value.toFixed(0),
  },
  {
    label: 'GPU idle, %',
    of: ({ gpuIdleShare }) => gpuIdleShare * 100,
    print: (value) => value.toFixed(1),
  },
];

const PANEL = { width: 320, height: 200, left: 16, top: 36, bottom: 32 };

/** Throughput, latency and idle share by the number of requests; a row of panels for each model, size and set of flags. */
export function requestsChart(rows: readonly RequestsRow[]): string {
  const loads = new Map<string, RequestsRow[]>();
  for (const row of rows) {
    const title = `${modelNames[row.model]}, ${row.size} px, ${row.steps} steps, ${row.flags}`;
    loads.set(title, [...(loads.get(title) ?? []), row]);
  }
  const parts = [...loads].flatMap(([title, group], line) =>
    quantities.map((_, column) => {
      const drawn = panel(column === 0 ? title : '', group, column);
      return `<g transform="translate(${column * PANEL.width} ${line * PANEL.height})">${drawn}</g>`;
    }),
  );
  const width = PANEL.width * quantities.length;
  const height = PANEL.height * loads.size + 24;
  const legend = modes
    .map((mode, i) => {
      const x = PANEL.left + i * 96;
      return `<rect x="${x}" y="${height - 16}" width="10" height="10" fill="${colours[mode]}"/><text x="${x + 15}" y="${height - 7}">${mode}</text>`;
    })
    .join('');
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `font-family="sans-serif" font-size="11" fill="#444"><rect width="${width}" height="${height}" fill="#fff"/>` +
    `${parts.join('')}${legend}</svg>\n`
  );
}

function panel(title: string, rows: readonly RequestsRow[], quantity: number): string {
  const { width, height, left, top, bottom } = PANEL;
  const { label, of, upTo = of, print } = quantities[quantity]!;
  const counts = [...new Set(rows.map(({ requests }) => requests))].sort((a, b) => a - b);
  const most = Math.max(...rows.map(upTo), Number.MIN_VALUE);
  const plot = { width: width - left - 16, height: height - top - bottom - 12 };
  const base = top + 12 + plot.height;
  const group = plot.width / counts.length;
  const bar = (group - 12) / modes.length;
  const yOf = (value: number): number => base - (value / most) * plot.height;
  const bars = rows.map((row) => {
    const x = left + counts.indexOf(row.requests) * group + 6 + modes.indexOf(row.mode) * bar;
    const [value, end] = [of(row), upTo(row)];
    const middle = round(x + bar / 2 - 1);
    const line =
      end > value
        ? `<line x1="${middle}" x2="${middle}" y1="${round(yOf(value))}" y2="${round(yOf(end))}" stroke="${colours[row.mode]}"/>`
        : '';
    return (
      `<rect x="${round(x)}" y="${round(yOf(value))}" width="${round(bar - 2)}" height="${round(base - yOf(value))}" fill="${colours[row.mode]}">` +
      `<title>${row.name}: ${print(value)}</title></rect>${line}` +
      `<text x="${middle}" y="${round(yOf(end) - 3)}" text-anchor="middle" font-size="8">${print(value)}</text>`
    );
  });
  const labels = counts.map(
    (count, i) =>
      `<text x="${round(left + (i + 0.5) * group)}" y="${base + 14}" text-anchor="middle">${count}</text>`,
  );
  return (
    `<text x="${left}" y="16" font-weight="bold">${title}</text>` +
    `<text x="${left}" y="30" font-size="9">${label}, by requests under way</text>` +
    `<line x1="${left}" x2="${width - 16}" y1="${base}" y2="${base}" stroke="#ccc"/>${bars.join('')}${labels.join('')}`
  );
}

function isSameLoad(a: RequestsRow, b: RequestsRow): boolean {
  return a.model === b.model && a.size === b.size && a.requests === b.requests && a.flags === b.flags;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
