import type { Report } from './results.ts';
import type { Measured, Row } from './types.ts';

/** What is compared, from the slowest to be expected to the fastest. */
const columns: readonly { title: string; engine: Row['engine']; flags?: string; colour: string }[] = [
  { title: 'onnxruntime-web', engine: 'onnxruntime-web', colour: '#b8b8b8' },
  { title: 'PyTorch eager', engine: 'pytorch-eager', colour: '#e0a458' },
  { title: 'Calotype, stock', engine: 'calotype', flags: 'stock', colour: '#c3d9ee' },
  { title: 'Calotype, f16', engine: 'calotype', flags: 'f16', colour: '#8fb8de' },
  { title: 'Calotype, experimental', engine: 'calotype', flags: 'experimental', colour: '#2f6db5' },
  { title: 'PyTorch CUDA graph', engine: 'pytorch-graph', colour: '#7a4f9a' },
];

interface Comparison {
  scenario: string;
  /** By column; of several rows (flags that a peer ran under) the fastest. */
  rows: (Measured | undefined)[];
}

/** Scenarios of whole graphs and pictures with what each column measured. */
export function compare(rows: readonly Row[]): Comparison[] {
  const measured = rows.filter((row): row is Measured & Row => row.error === undefined);
  const scenarios = [...new Set(measured.map(({ scenario }) => scenario))].filter(
    (name) => !name.startsWith('kernel/') && !name.startsWith('requests-'),
  );
  return scenarios.map((scenario) => ({
    scenario,
    rows: columns.map(({ engine, flags }) =>
      measured
        .filter((row) => row.scenario === scenario && row.engine === engine)
        .filter((row) => flags === undefined || row.flags === flags)
        .toSorted((a, b) => a.medianMs - b.medianMs)
        .at(0),
    ),
  }));
}

/** The columns beside each other, in Markdown: median times, and the error of the last of this library's. */
export function comparisonTable(rows: readonly Row[]): string {
  const compared = compare(rows);
  const used = columns
    .map((column, i) => ({ ...column, i }))
    .filter(({ i }) => compared.some(({ rows: found }) => found[i]));
  const ours = used.filter(({ engine }) => engine === 'calotype');
  const head = ['scenario', ...used.map(({ title }) => title), 'relative L2', 'peak', 'dispatches'];
  const lines = compared.map(({ scenario, rows: found }) => {
    const own = ours.map(({ i }) => found[i]).findLast((row) => row !== undefined);
    const times = used.map(({ i }) => (found[i] ? `${number(found[i].medianMs)} ms` : ''));
    const peak = own?.peakBytes ? `${(own.peakBytes / 2 ** 20).toFixed(0)} MiB` : '';
    return [
      `\`${scenario}\``,
      ...times,
      own?.relativeL2?.toExponential(1) ?? '',
      peak,
      own?.dispatches ?? '',
    ];
  });
  const rule = head.map((_, i) => (i === 0 ? '---' : '--:'));
  return [head, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const BAR = { left: 190, width: 480, height: 12, gap: 3 };

/** Bars of each scenario that has a peer's beside ours, in shares of the scenario's longest, as SVG. */
export function performanceChart({ rows, adapter }: Report): string {
  const compared = compare(rows).filter(({ rows: found }) => found.filter(Boolean).length > 1);
  const used = columns.filter((_, i) => compared.some(({ rows: found }) => found[i]));
  const parts: string[] = [];
  used.forEach(({ title, colour }, i) => {
    const [x, y] = [BAR.left + (i % 3) * 180, 8 + Math.floor(i / 3) * 18];
    parts.push(rectangle(x, y, 10, 10, colour), text(x + 15, y + 9, title));
  });
  let y = 26 + Math.ceil(used.length / 3) * 18;
  for (const { scenario, rows: found } of compared) {
    const bars = columns.flatMap((column, i) => (found[i] ? [{ ...column, ms: found[i].medianMs }] : []));
    const most = Math.max(...bars.map(({ ms }) => ms));
    const middle = y + (bars.length * (BAR.height + BAR.gap)) / 2 + 2;
    parts.push(text(BAR.left - 8, middle, scenario, 'text-anchor="end"'));
    for (const { ms, colour } of bars) {
      const width = (BAR.width * ms) / most;
      parts.push(rectangle(BAR.left, y, width, BAR.height, colour));
      parts.push(text(BAR.left + width + 5, y + 10, number(ms), 'font-size="11" fill="#555"'));
      y += BAR.height + BAR.gap;
    }
    y += 14;
  }
  const note = `${adapter}: milliseconds a run, float16; shorter is better, bars of a scenario are in shares of its longest`;
  parts.push(text(BAR.left, y + 4, note, 'font-size="11" fill="#555"'));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 ${y + 14}" font-family="system-ui, sans-serif" font-size="12" fill="#333">`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function rectangle(x: number, y: number, width: number, height: number, colour: string): string {
  return `<rect x="${x}" y="${y}" width="${width.toFixed(1)}" height="${height}" fill="${colour}"/>`;
}

function text(x: number, y: number, words: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${words}</text>`;
}

function number(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms.toFixed(1);
}
