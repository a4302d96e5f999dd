import type { FlagSet } from '../chromium.ts';
import { hostPages, type PageHost } from '../browser-page.ts';
import type { Fixture, Row, Verdict, VerifyOptions, VerifyPage } from './types.ts';

declare const calotypeVerify: VerifyPage;

export interface RunOptions extends VerifyOptions {
  /** Folder whose fixtures are verified. */
  root: string;
  /** Folder of the built page. */
  pageDir: string;
  flags: FlagSet;
  /** A fixture that takes longer has failed. */
  timeoutSeconds: number;
  onAdapter(adapter: string): void;
  onRow(row: Row): void;
}

/** Verifies fixtures one after the other, each in a page of its own, so that none meets what another left behind. */
export async function runFixtures(fixtures: Fixture[], options: RunOptions): Promise<Row[]> {
  await using host = await hostPages({
    pageDir: options.pageDir,
    mounts: { '/fixtures/': options.root },
    flags: options.flags,
  });
  const rows: Row[] = [];
  let adapterKnown = false;
  for (const fixture of fixtures) {
    const started = performance.now();
    if (!adapterKnown && fixture.kind !== 'unsupported') {
      options.onAdapter(await adapterOf(host));
      adapterKnown = true;
    }
    const verdict = await runFixture(host, fixture, options);
    const row: Row = { ...verdict, name: fixture.name, seconds: (performance.now() - started) / 1000 };
    rows.push(row);
    options.onRow(row);
  }
  return rows;
}

async function adapterOf(host: PageHost): Promise<string> {
  const page = await host.open('index.html');
  const adapter = await page.evaluate(() => calotypeVerify.adapter());
  await page.close();
  return adapter;
}

async function runFixture(host: PageHost, fixture: Fixture, options: RunOptions): Promise<Verdict> {
  if (fixture.kind === 'unsupported') return { status: 'unsupported', path: '–', detail: fixture.reason };
  const log: string[] = [];
  const page = await host.open('index.html', (line) => log.push(line));
  const ended = new Promise<never>((_, reject) => {
    page.once('crash', () => reject(new Error('The page crashed.')));
    page.once('close', () => reject(new Error('The browser ended.')));
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `Not done after ${options.timeoutSeconds} seconds.`;
    timer = setTimeout(() => reject(new Error(message)), options.timeoutSeconds * 1000);
  });
  const { precision, defaultLimits } = options;
  const verdict = page.evaluate(([item, settings]) => calotypeVerify.verify(item, settings), [
    fixture,
    { precision, defaultLimits },
  ] as const);
  try {
    return await Promise.race([verdict, ended, late]);
  } catch (error) {
    const message = error instanceof Error ? error.message.replace(/^page\.evaluate: /, '') : String(error);
    return { status: 'failed', path: '–', detail: [message, ...log].slice(0, 12).join('\n') };
  } finally {
    clearTimeout(timer);
    ended.catch(() => {});
    verdict.catch(() => {});
    await page.close().catch(() => {});
  }
}
