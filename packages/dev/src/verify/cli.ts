import { stat, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { isFlagSet } from '../chromium.ts';
import { discover } from './discover.ts';
import { formatRow, heading, summary } from './report.ts';
import { runFixtures } from './runner.ts';
import { precisions, type Precision } from './types.ts';

const usage = `usage: npm run verify -- DIR [options]
  --precision f32|f16|packed-f16   how activations are stored (f32)
  --only NAME                      only fixtures whose name contains NAME; may be given again
  --json FILE                      writes the rows, unrounded, as JSON
  --flags software|stock|f16|experimental   Chromium's GPU (software)
  --default-limits                 as on an adapter with no more than WebGPU's default limits
  --timeout SECONDS                for each fixture (1800)
  --list                           names the fixtures found and runs none`;

/** The `verify` command. Resolves to its exit code. */
export async function main(args: string[], pageDir: string): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      precision: { type: 'string', default: 'f32' },
      only: { type: 'string', multiple: true },
      json: { type: 'string' },
      flags: { type: 'string', default: 'software' },
      timeout: { type: 'string', default: '1800' },
      'default-limits': { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  const [root, ...rest] = positionals;
  const { precision, flags } = values;
  const timeoutSeconds = Number(values.timeout);
  if (!root || rest.length || !isPrecision(precision) || !isFlagSet(flags) || !(timeoutSeconds > 0)) {
    console.error(usage);
    return 2;
  }
  if (!(await stat(root).catch(() => undefined))?.isDirectory()) {
    console.error(`${root} is not a folder.`);
    return 2;
  }
  const wanted = (name: string): boolean => values.only?.some((part) => name.includes(part)) ?? true;
  const fixtures = (await discover(root)).filter(({ name }) => wanted(name));
  if (values.list) {
    for (const { kind, name } of fixtures) console.log(`${kind.padEnd(12)} ${name}`);
    return 0;
  }
  if (!fixtures.length) {
    console.error(
      `No fixtures under ${root}${values.only ? ` whose name contains ${values.only.join(' or ')}` : ''}.`,
    );
    return 2;
  }

  const started = new Date();
  let adapter = 'none';
  const rows = await runFixtures(fixtures, {
    root,
    pageDir,
    flags,
    precision,
    defaultLimits: values['default-limits'],
    timeoutSeconds,
    onAdapter: (name) => {
      adapter = name;
      const limits = values['default-limits'] ? ', default limits' : '';
      console.log(`${adapter}, ${precision}${limits}\n${heading()}`);
    },
    onRow: (row) => console.log(formatRow(row)),
  });
  if (values.json) {
    const report = { started: started.toISOString(), adapter, precision, flags, rows };
    await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  console.log(summary(rows));
  return rows.some(({ status }) => status === 'failed') ? 1 : 0;
}

function isPrecision(name: string): name is Precision {
  return precisions.some((precision) => precision === name);
}
