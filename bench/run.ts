import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Precision } from '@calotype/core';
import { hostPages } from '@calotype/dev/browser-page';
import { isFlagSet, type FlagSet } from '@calotype/dev/chromium';
import { profileTable } from './profile-table.ts';
import { requestsScenarios, type RequestsRow } from './requests-types.ts';
import { requestsChart, requestsTable } from './requests-report.ts';
import { scenarios } from './scenarios.ts';
import type { BenchPage, Row } from './types.ts';

declare const calotypeBench: BenchPage;

const usage = `usage: npm run bench -- [options]
  --fixtures DIR     folder that holds full-size/ (the repository's own fixtures)
  --flags SET        stock|f16|experimental|software; may be given again (all but software)
  --precision P      f32|f16|packed-f16 (f16 where the adapter has it, else packed-f16)
  --only NAME        only scenarios whose name contains NAME; may be given again
  --runs N           measured runs of each (15)
  --profile          GPU time by kernel too
  --adapter NAME     name of the results' folder, where the browser does not tell the card's model
  --out DIR          where results go (bench/results)`;

/** Largest relative L2 against float32, beyond which a result is wrong. */
const TOLERANCES: Readonly<Record<Precision, number>> = { f32: 1e-4, f16: 2e-2, 'packed-f16': 2e-2 };

/** The `bench` command. Resolves to its exit code. */
export async function main(
  args: string[],
  defaults: { pageDir: string; fixtures: string; out: string },
): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      fixtures: { type: 'string', default: defaults.fixtures },
      flags: { type: 'string', multiple: true, default: ['stock', 'f16', 'experimental'] },
      precision: { type: 'string' },
      only: { type: 'string', multiple: true },
      runs: { type: 'string', default: '15' },
      profile: { type: 'boolean', default: false },
      adapter: { type: 'string' },
      out: { type: 'string', default: defaults.out },
      help: { type: 'boolean', default: false },
    },
  });
  const sets = values.flags.filter((flags): flags is FlagSet => isFlagSet(flags));
  if (values.help || sets.length < values.flags.length) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  const isChosen = ({ name }: { name: string }): boolean =>
    values.only?.some((part) => name.includes(part)) ?? true;
  const chosen = scenarios.filter(isChosen);
  const rows: Row[] = [];
  const requests: RequestsRow[] = [];
  let failed = 0;
  let adapter = values.adapter ?? 'unknown';
  let browser = 'unknown';
  for (const flags of sets) {
    await using host = await hostPages({
      pageDir: defaults.pageDir,
      mounts: { '/fixtures/': values.fixtures },
      flags,
    });
    for (const scenario of chosen) {
      const page = await host.open('index.html', (line) => console.error(line));
      try {
        const found = await page.evaluate(() => calotypeBench.adapter());
        adapter = values.adapter ?? found.name;
        browser = page.context().browser()?.version() ?? browser;
        const precision = (values.precision as Precision | undefined) ?? found.precision;
        const { row, profile } = await page.evaluate(([item, options]) => calotypeBench.run(item, options), [
          scenario,
          { flags, precision, runs: Number(values.runs), profile: values.profile },
        ] as const);
        rows.push(row);
        console.log(describe(row));
        // Weights of few bits give another network.
        if (!scenario.weights && row.relativeL2 !== null && !(row.relativeL2 <= TOLERANCES[row.precision])) {
          failed++;
          console.log(`${row.scenario} ${row.flags}: wrong, at most ${TOLERANCES[row.precision]} is allowed`);
        }
        if (profile) console.log(profileTable(profile));
      } catch (error) {
        failed++;
        console.log(`${scenario.name} ${flags}: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        await page.close();
      }
    }
    const concurrent = requestsScenarios(flags).filter(isChosen);
    if (concurrent.length === 0) continue;
    // One page for all: what takes longest is the model.
    const page = await host.open('index.html', (line) => console.error(line));
    const found = await page.evaluate(() => calotypeBench.adapter());
    adapter = values.adapter ?? found.name;
    browser = page.context().browser()?.version() ?? browser;
    const precision = (values.precision as Precision | undefined) ?? found.precision;
    for (const scenario of concurrent) {
      try {
        const row = await page.evaluate(([item, options]) => calotypeBench.runRequests(item, options), [
          scenario,
          { flags, precision, runs: Number(values.runs), profile: false },
        ] as const);
        requests.push(row);
        console.log(describeRequests(row));
      } catch (error) {
        failed++;
        console.log(`${scenario.name} ${flags}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    await page.close();
  }
  const folder = join(values.out, adapter);
  await save(rows, requests, folder, { adapter, browser: `Chromium ${browser}` });
  if (requests.length > 0) {
    console.log(requestsTable(requests));
    await writeFile(join(folder, 'requests.svg'), requestsChart(requests));
  }
  return failed > 0 ? 1 : 0;
}

function describe(row: Row): string {
  const error =
    row.relativeL2 === null ? ', no reference' : `, relative L2 ${row.relativeL2.toExponential(1)}`;
  const toStored =
    row.relativeL2ToStored === undefined
      ? ''
      : `, ${row.relativeL2ToStored.toExponential(1)} from weights as stored (uniform noise, the hard case)`;
  return (
    `${row.scenario} ${row.flags} ${row.precision}: ${row.medianMs.toFixed(1)} ms ` +
    `(${row.minMs.toFixed(1)} to ${row.maxMs.toFixed(1)}), ${row.dispatches} dispatches, ` +
    `${(row.peakBytes / 2 ** 20).toFixed(0)} MiB (planned ${(row.plannedBytes / 2 ** 20).toFixed(0)}, ` +
    `weights ${(row.weightBytes / 2 ** 20).toFixed(0)}), cold ${(row.coldMs / 1000).toFixed(1)} s${error}${toStored}`
  );
}

function describeRequests(row: RequestsRow): string {
  return (
    `${row.name} ${row.flags} ${row.precision}: ${row.imagesPerSecond.toFixed(2)} images/s, ` +
    `p50 ${row.latencyP50Ms.toFixed(0)} ms, p95 ${row.latencyP95Ms.toFixed(0)} ms, ` +
    `GPU idle ${(row.gpuIdleShare * 100).toFixed(1)} %, ${row.jobsPerStep.toFixed(1)} requests a step`
  );
}

/** Writes `latest.json`; what was there before stays beside it under the time it was made. */
async function save(
  rows: readonly Row[],
  requests: readonly RequestsRow[],
  folder: string,
  where: { adapter: string; browser: string },
): Promise<void> {
  if (rows.length + requests.length === 0) return;
  await mkdir(folder, { recursive: true });
  const latest = join(folder, 'latest.json');
  const before = await stat(latest).catch(() => undefined);
  if (before)
    await rename(latest, join(folder, `${before.mtime.toISOString().replaceAll(/[:.]/g, '-')}.json`));
  const report = { made: new Date().toISOString(), ...where, rows, requests };
  await writeFile(latest, `${JSON.stringify(report, null, 2)}\n`);
}
