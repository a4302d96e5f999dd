import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Precision } from '@calotype/core';
import { hostPages } from '@calotype/dev/browser-page';
import { isFlagSet, type FlagSet } from '@calotype/dev/chromium';
import { profileTable } from './profile-table.ts';
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
  const chosen = scenarios.filter(({ name }) => values.only?.some((part) => name.includes(part)) ?? true);
  const rows: Row[] = [];
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
        if (profile) console.log(profileTable(profile));
      } catch (error) {
        failed++;
        console.log(`${scenario.name} ${flags}: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        await page.close();
      }
    }
  }
  await save(rows, join(values.out, adapter), { adapter, browser: `Chromium ${browser}` });
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

/** Writes `latest.json`; what was there before stays beside it under the time it was made. */
async function save(
  rows: readonly Row[],
  folder: string,
  where: { adapter: string; browser: string },
): Promise<void> {
  if (rows.length === 0) return;
  await mkdir(folder, { recursive: true });
  const latest = join(folder, 'latest.json');
  const before = await stat(latest).catch(() => undefined);
  if (before)
    await rename(latest, join(folder, `${before.mtime.toISOString().replaceAll(/[:.]/g, '-')}.json`));
  const report = { made: new Date().toISOString(), ...where, rows };
  await writeFile(latest, `${JSON.stringify(report, null, 2)}\n`);
}
