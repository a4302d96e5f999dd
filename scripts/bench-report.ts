// Writes docs/performance.svg, docs/requests.svg and the tables of docs/performance.md from bench/results, so that no number is
// copied by hand: `npm run bench:report [ADAPTER]`. The charts are of the adapter named, else of the one measured last.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { comparisonTable, performanceChart } from '../bench/chart.ts';
import { controlTable, requestsChart, requestsTable } from '../bench/requests-report.ts';
import type { Report } from '../bench/results.ts';
import { root } from './lib/run.ts';

const folder = join(root, 'bench', 'results');
const reports = await Promise.all(
  (await readdir(folder)).map(
    async (adapter) => JSON.parse(await readFile(join(folder, adapter, 'latest.json'), 'utf8')) as Report,
  ),
);
const chosen = process.argv[2] ?? reports.toSorted((a, b) => (a.made < b.made ? 1 : -1))[0]?.adapter;
const charted = reports.find(({ adapter }) => adapter === chosen);
if (!charted) throw new Error(`bench/results has no '${chosen}'.`);
await writeFile(join(root, 'docs', 'performance.svg'), performanceChart(charted));

const page = join(root, 'docs', 'performance.md');
let text = await readFile(page, 'utf8');
for (const { adapter, rows } of reports) {
  const between = new RegExp(`(<!-- results of ${adapter} -->\n)[^]*?(<!-- end -->)`);
  text = text.replace(
    between,
    (_, start: string, end: string) => `${start}\n${comparisonTable(rows)}\n\n${end}`,
  );
}
const { adapter, driver, browser, rows } = charted;
// Files of before have none.
const { requests = [] } = charted as Partial<Report>;
if (requests.length > 0) {
  await writeFile(join(root, 'docs', 'requests.svg'), requestsChart(requests));
  const machine = [adapter, driver && `driver ${driver}`, browser].filter(Boolean).join(', ');
  const chart = '![Images per second, latency and GPU idle share of stacked, pipelined and batched requests]';
  text = text.replace(
    /(<!-- requests -->\n)[^]*?(\n<!-- end of requests -->)/,
    (_, start: string, end: string) =>
      `${start}\n${machine}:\n\n${chart}(requests.svg)\n\n${requestsTable(requests)}\n\n${controlTable(rows)}\n${end}`,
  );
}
await writeFile(page, text);
