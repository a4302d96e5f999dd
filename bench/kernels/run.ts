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
  --only RE        only cases whose name matches; may be given again
  --variants RE    also variants whose names match, for example . or ^64x160; only the rules' choice without it
  --no-speed       only the odd shapes
  --out FILE       all rows as JSON`;

/** Largest relative L2 that a variant may have: f16 operands and results, f32 sums. */
const TOLERANCE = 2e-3;

/** Variants that are compiled at once, and how long they may take: some compile for minutes. */
const BATCH = 8;
const BATCH_SECONDS = 30;

/** The `bench-kernels` command: checks every kernel against the simplest one and times it. Resolves to its exit code. */
export async function main(args: string[], pageDir: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      flags: { type: 'string', multiple: true, default: ['stock', 'f16', 'experimental'] },
      precision: { type: 'string' },
      only: { type: 'string', multiple: true },
      variants: { type: 'string' },
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
  const chosen = (item: KernelCase): boolean =>
    values.only?.some((pattern) => new RegExp(pattern).test(item.name)) ?? true;
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
      console.log(item.name);
      const rows: KernelRow[] = [];
      const names = await page.evaluate(
        ([which, stored, pattern]) => calotypeKernels.variants(which, stored, pattern),
        [item, precision, values.variants] as const,
      );
      for (let at = 0; at < names.length; at += BATCH) {
        const batch = names.slice(at, at + BATCH);
        let measured: KernelRow[];
        try {
          measured = await within(
            BATCH_SECONDS,
            page.evaluate(([which, some, options]) => calotypeKernels.run(which, some, options), [
              item,
              batch,
              { precision, time },
            ] as const),
          );
        } catch (error) {
          const text = String(error).slice(0, 600);
          measured = batch.map((variant) => ({ variant, relativeL2: NaN, error: text }));
          await page.close();
          page = await host.open('index.html', (line) => console.error(line));
        }
        for (const row of measured) {
          const right = row.relativeL2 <= TOLERANCE;
          if (!right) failed++;
          console.log(describe(row, right));
        }
        rows.push(...measured);
      }
      results.push({ flags, item, rows });
    }
  }
  if (values.out) {
    await mkdir(dirname(values.out), { recursive: true });
    await writeFile(values.out, JSON.stringify(results, undefined, 1));
  }
  return failed > 0 ? 1 : 0;
}

async function within<T>(seconds: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took more than ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function describe(
  { variant, microseconds, teraflops, gigabytes, relativeL2, error }: KernelRow,
  right: boolean,
): string {
  const time =
    microseconds === undefined
      ? ''
      : `${microseconds.toFixed(1).padStart(9)} us ${teraflops!.toFixed(1).padStart(7)} TFLOP/s ${gigabytes!.toFixed(0).padStart(6)} GB/s`;
  return `  ${right ? 'ok  ' : 'FAIL'} ${relativeL2.toExponential(1)} ${time}  ${variant} ${error ?? ''}`;
}
