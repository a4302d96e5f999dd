import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { Precision } from '@calotype/core';
import { hostPages } from '@calotype/dev/browser-page';
import { isFlagSet, type FlagSet } from '@calotype/dev/chromium';
import { correctnessCases, speedCases, type KernelCase } from './cases.ts';
import type { KernelBenchPage, KernelRow } from './types.ts';

declare const calotypeKernels: KernelBenchPage;

const usage = `usage: bench-kernels [options]
  --flags SET      stock|f16|experimental|software; may be given again (all but software)
  --precision P    f32|f16|packed-f16 (f16 where the adapter has it, else packed-f16)
  --only NAME      only cases whose name contains NAME; may be given again
  --all            every variant, not only what the rules choose
  --no-speed       only the odd shapes
  --out FILE       all rows as JSON`;

/** Largest relative L2 that a variant may have: f16 operands and results, f32 sums. */
const TOLERANCE = 2e-3;

/** The `bench-kernels` command: checks every kernel against the simplest one and times it. Resolves to its exit code. */
export async function main(args: string[], pageDir: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      flags: { type: 'string', multiple: true, default: ['stock', 'f16', 'experimental'] },
      precision: { type: 'string' },
      only: { type: 'string', multiple: true },
      all: { type: 'boolean', default: false },
      'no-speed': { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const sets = values.flags.filter((flags): flags is FlagSet => isFlagSet(flags));
  if (values.help || sets.length < values.flags.length) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  const chosen = (item: KernelCase): boolean => values.only?.some((part) => item.name.includes(part)) ?? true;
  const results: { flags: FlagSet; item: KernelCase; rows: KernelRow[] }[] = [];
  let failed = 0;
  for (const flags of sets) {
    await using host = await hostPages({ pageDir, flags });
    let page = await host.open('index.html', (line) => console.error(line));
    const found = await page.evaluate(() => calotypeKernels.adapter());
    const precision = (values.precision as Precision | undefined) ?? found.precision;
    console.log(`# ${flags} ${precision} ${found.capabilities}`);
    const work = [
      ...correctnessCases.filter(chosen).map((item) => ({ item, time: false })),
      ...(values['no-speed'] ? [] : speedCases.filter(chosen).map((item) => ({ item, time: true }))),
    ];
    if (flags !== 'software') await page.evaluate(() => calotypeKernels.warmUp());
    for (const { item, time } of work) {
      let rows: KernelRow[];
      try {
        rows = await page.evaluate(([which, options]) => calotypeKernels.run(which, options), [
          item,
          { precision, time, all: values.all },
        ] as const);
      } catch (error) {
        rows = [{ variant: '', relativeL2: NaN, error: String(error).slice(0, 600) }];
        page = await host.open('index.html', (line) => console.error(line));
      }
      results.push({ flags, item, rows });
      console.log(item.name);
      for (const row of rows) {
        const right = row.relativeL2 <= TOLERANCE;
        if (!right) failed++;
        console.log(describe(row, right));
      }
    }
  }
  if (values.out) {
    await mkdir(dirname(values.out), { recursive: true });
    await writeFile(values.out, JSON.stringify(results, undefined, 1));
  }
  return failed > 0 ? 1 : 0;
}

function describe(
  { variant, microseconds, teraflops, relativeL2, error }: KernelRow,
  right: boolean,
): string {
  const time =
    microseconds === undefined
      ? ''
      : `${microseconds.toFixed(1).padStart(9)} us ${teraflops!.toFixed(1).padStart(7)} TFLOP/s`;
  return `  ${right ? 'ok  ' : 'FAIL'} ${relativeL2.toExponential(1)} ${time}  ${variant} ${error ?? ''}`;
}
