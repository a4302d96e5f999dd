import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compare, comparisonTable, performanceChart } from './chart.ts';
import { Results, type Report } from './results.ts';
import type { Measured, Row } from './types.ts';

const row = (scenario: string, medianMs: number, extra: Partial<Measured> = {}): Row => ({
  scenario,
  engine: 'calotype',
  flags: 'f16',
  precision: 'f16',
  medianMs,
  minMs: medianMs,
  maxMs: medianMs,
  runs: 1,
  relativeL2: 1e-3,
  peakBytes: 2 ** 20,
  dispatches: 7,
  made: '2026-01-01T00:00:00.000Z',
  ...extra,
});

const machine = { adapter: 'a-card', driver: '1', browser: 'Chromium 1' };

async function latest(out: string): Promise<Report> {
  return JSON.parse(await readFile(join(out, 'a-card', 'latest.json'), 'utf8')) as Report;
}

test('every row is on disk as soon as it is added, and replaces the one of its scenario, engine and flags', async () => {
  const out = await mkdtemp(join(tmpdir(), 'bench-'));
  const results = await Results.open(out, machine, false);
  await results.add(row('unet', 9));
  expect((await latest(out)).rows.map(({ scenario }) => scenario)).toEqual(['unet']);
  await results.add(
    row('unet', 8),
    row('unet', 30, { flags: 'stock' }),
    row('vae', 5, { engine: 'pytorch-eager', flags: null }),
  );

  const more = await Results.open(out, machine, true);
  await more.add(
    { scenario: 'vae', engine: 'onnxruntime-web', flags: 'f16', error: 'no | kernel', made: '' },
    row('unet', 7),
  );
  expect(more.has({ scenario: 'unet', engine: 'calotype', flags: 'stock' })).toBe(true);
  expect(more.has({ scenario: 'vae', engine: 'onnxruntime-web', flags: 'f16' })).toBe(false);
  const { rows, adapter, driver } = await latest(out);
  expect({ adapter, driver }).toEqual({ adapter: 'a-card', driver: '1' });
  expect(
    rows.map((found) => [found.scenario, found.engine, found.flags, found.error ?? found.medianMs]),
  ).toEqual([
    ['unet', 'calotype', 'f16', 7],
    ['unet', 'calotype', 'stock', 30],
    ['vae', 'pytorch-eager', null, 5],
    ['vae', 'onnxruntime-web', 'f16', 'no | kernel'],
  ]);
  expect(await readFile(join(out, 'a-card', 'latest.md'), 'utf8')).toContain('no   kernel');
});

test('without --append the earlier results stay beside the new ones', async () => {
  const out = await mkdtemp(join(tmpdir(), 'bench-'));
  await (await Results.open(out, machine, false)).add(row('unet', 9));
  await (await Results.open(out, machine, false)).add(row('vae', 5));
  expect((await latest(out)).rows.map(({ scenario }) => scenario)).toEqual(['vae']);
  const files = await readdir(join(out, 'a-card'));
  expect(files.filter((name) => name.endsWith('.json')).length).toBe(2);
});

test('the comparison takes the fastest of a peer, and draws what has something beside it', () => {
  const rows = [
    row('unet', 10),
    row('unet', 170, { engine: 'onnxruntime-web', flags: 'f16' }),
    row('unet', 165, { engine: 'onnxruntime-web', flags: 'experimental' }),
    row('vae', 5),
    row('kernel/gemm', 1),
  ];
  expect(compare(rows).map(({ scenario, rows: found }) => [scenario, found[0]?.medianMs])).toEqual([
    ['unet', 165],
    ['vae', undefined],
  ]);
  expect(comparisonTable(rows)).toMatchInlineSnapshot(`
    "| scenario | onnxruntime-web | Calotype, f16 | relative L2 | peak | dispatches |
    | --- | --: | --: | --: | --: | --: |
    | \`unet\` | 165 ms | 10.0 ms | 1.0e-3 | 1 MiB | 7 |
    | \`vae\` |  | 5.0 ms | 1.0e-3 | 1 MiB | 7 |"
  `);
  const chart = performanceChart({ made: '', ...machine, rows, requests: [] });
  expect(chart).toContain('>165<');
  expect(chart).not.toContain('vae');
});
