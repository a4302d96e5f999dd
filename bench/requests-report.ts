import { modes, type Mode, type RequestsRow } from './requests-types.ts';

/** One table of all rows, in Markdown. */
export function requestsTable(rows: readonly RequestsRow[]): string {
  const head = [
    '| scenario | flags | images/s | against stacked | latency p50 | p95 | GPU idle | requests a step |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
  ];
  const lines = rows.map((row) => {
    const stacked = rows.find((other) => other.mode === 'stacked' && isSameLoad(row, other));
    const gain = stacked ? `${(row.imagesPerSecond / stacked.imagesPerSecond).toFixed(2)} ×` : '';
    const cells = [
      `\`${row.name}\``,
      row.flags,
      row.imagesPerSecond.toFixed(2),
      gain,
      `${row.latencyP50Ms.toFixed(0)} ms`,
      `${row.latencyP95Ms.toFixed(0)} ms`,
      `${(row.gpuIdleShare * 100).toFixed(1)} %`,
      row.jobsPerStep.toFixed(1),
    ];
    return `| ${cells.join(' | ')} |`;
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

const PANEL = { width: 340, height: 220, left: 44, top: 40, bottom: 34 };

/** Throughput by the number of requests, a panel for each model, size and set of flags, as SVG. */
export function requestsChart(rows: readonly RequestsRow[]): string {
  const panels = new Map<string, RequestsRow[]>();
  for (const row of rows) {
    const title = `${row.model}, ${row.size} px, ${row.flags}`;
    panels.set(title, [...(panels.get(title) ?? []), row]);
  }
  const parts = [...panels].map(([title, group], i) => {
    const [column, line] = [i % 2, Math.floor(i / 2)];
    return `<g transform="translate(${column * PANEL.width} ${line * PANEL.height})">${panel(title, group)}</g>`;
  });
  const width = PANEL.width * Math.min(2, panels.size);
  const height = PANEL.height * Math.ceil(panels.size / 2) + 24;
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

function panel(title: string, rows: readonly RequestsRow[]): string {
  const { width, height, left, top, bottom } = PANEL;
  const counts = [...new Set(rows.map(({ requests }) => requests))].sort((a, b) => a - b);
  const most = Math.max(...rows.map(({ imagesPerSecond }) => imagesPerSecond));
  const plot = { width: width - left - 12, height: height - top - bottom };
  const group = plot.width / counts.length;
  const bar = (group - 12) / modes.length;
  const bars = rows.map((row) => {
    const x = left + counts.indexOf(row.requests) * group + 6 + modes.indexOf(row.mode) * bar;
    const tall = (row.imagesPerSecond / most) * plot.height;
    const y = top + plot.height - tall;
    return (
      `<rect x="${round(x)}" y="${round(y)}" width="${round(bar - 2)}" height="${round(tall)}" fill="${colours[row.mode]}">` +
      `<title>${row.name}: ${row.imagesPerSecond.toFixed(2)} images/s</title></rect>` +
      `<text x="${round(x + bar / 2 - 1)}" y="${round(y - 3)}" text-anchor="middle" font-size="9">${row.imagesPerSecond.toFixed(1)}</text>`
    );
  });
  const labels = counts.map(
    (count, i) =>
      `<text x="${round(left + (i + 0.5) * group)}" y="${height - bottom + 15}" text-anchor="middle">${count}</text>`,
  );
  const base = top + plot.height;
  return (
    `<text x="${left}" y="16" font-weight="bold">${title}</text>` +
    `<text x="${left}" y="29" font-size="9">images per second, by requests sent at once</text>` +
    `<line x1="${left}" x2="${width - 12}" y1="${base}" y2="${base}" stroke="#ccc"/>${bars.join('')}${labels.join('')}`
  );
}

function isSameLoad(a: RequestsRow, b: RequestsRow): boolean {
  return a.model === b.model && a.size === b.size && a.requests === b.requests && a.flags === b.flags;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
