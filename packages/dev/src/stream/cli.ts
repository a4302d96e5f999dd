import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isFlagSet, launchOptions } from '../chromium.ts';
import { chromium, type Page } from '../playwright.ts';
import { tensorBytes } from './contents.ts';
import { watchWorkers } from './heap.ts';
import { serveStream } from './server.ts';
import type { StreamNews, StreamPage } from './types.ts';

declare const calotypeStream: StreamPage;

const usage = `usage: npm run stream -- [options]
Streams a generated model into GPU buffers through the cache, over a connection that breaks, and compares every byte.
  --bytes N     of the model, rounded up to 64 MiB (1.7e9)
  --drops N     broken connections, at random (20)
  --kill PART   crashes the page when this part is there and loads again in another (0.4; 0: never)
  --heap MB     most JavaScript heap of the loading worker; more fails (200)
  --flags software|stock|f16|experimental   Chromium's GPU (software)`;

/** The `stream` command. Resolves to its exit code. */
export async function main(args: string[], pageDir: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      bytes: { type: 'string', default: '1.7e9' },
      drops: { type: 'string', default: '20' },
      kill: { type: 'string', default: '0.4' },
      heap: { type: 'string', default: '200' },
      flags: { type: 'string', default: 'software' },
    },
  });
  const [bytes, drops, kill, heap] = [values.bytes, values.drops, values.kill, values.heap].map(Number);
  const { flags } = values;
  if (!(bytes! > 0) || !(drops! >= 0) || !(kill! >= 0) || !(heap! > 0) || !isFlagSet(flags)) {
    console.error(usage);
    return 2;
  }
  const tensors = Math.ceil(bytes! / tensorBytes);
  const size = tensors * tensorBytes;
  await using server = await serveStream(pageDir, tensors, drops!);
  const profile = await mkdtemp(join(tmpdir(), 'calotype-profile-'));
  // Private windows keep files in memory: this one keeps them on disk, as visitors' do.
  const context = await chromium.launchPersistentContext(profile, launchOptions(flags));
  try {
    let peak = 0;
    const open = async (): Promise<{ page: Page; stop: () => void }> => {
      const page = await context.newPage();
      page.on('console', (message) => console.error(message.text()));
      await page.goto(`${server.url}/index.html`);
      const watch = await watchWorkers(page);
      await page.evaluate((digest) => calotypeStream.start(digest), server.digest);
      return {
        page,
        stop: () => {
          watch.stop();
          peak = Math.max(peak, watch.peakBytes);
        },
      };
    };
    if (kill! > 0) {
      const { page, stop } = await open();
      const last = await waitFor(page, (news) => news.kind === 'progress' && news.loaded > kill! * size);
      stop();
      const crashed = new Promise((resolve) => page.once('crash', resolve));
      const session = await context.newCDPSession(page);
      session.send('Page.crash').catch(() => {});
      await crashed;
      console.log(`page killed: ${describe(last)}, server sent ${mega(server.sent)}`);
    }
    const { page, stop } = await open();
    const first = await waitFor(page, (news) => news.kind === 'progress');
    console.log(`loading: ${describe(first)}`);
    const loaded = await waitFor(page, (news) => news.kind === 'loaded');
    stop();
    console.log(`loaded: ${describe(loaded)}, server sent ${mega(server.sent)}, ${server.dropped} drops`);
    console.log(`JavaScript heap of the worker: at most ${mega(peak)}`);
    const compared = await waitFor(page, (news) => news.kind === 'compared');
    console.log(`compared: ${describe(compared)}`);
    const isRight = compared.kind === 'compared' && compared.wrong === 0 && compared.elements * 4 === size;
    return isRight && server.dropped === drops && peak > 0 && peak <= heap! * 1e6 ? 0 : 1;
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

async function waitFor(page: Page, test: (news: StreamNews) => boolean): Promise<StreamNews> {
  for (let from = 0; ;) {
    const news = await page.evaluate((start) => calotypeStream.news.slice(start), from);
    for (const item of news) {
      if (item.kind === 'failed') throw new Error(item.message);
      if (test(item)) return item;
    }
    from += news.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function describe(news: StreamNews): string {
  switch (news.kind) {
    case 'progress':
      return `${mega(news.loaded)} of ${mega(news.total)} are there, ${mega(news.cached)} from before`;
    case 'loaded':
      return `${news.seconds.toFixed(1)} s, ${mega(news.gpuBytes)} on the GPU, ${mega(news.cachedBytes)} in the cache`;
    case 'compared':
      return `${news.elements} elements, ${news.wrong} wrong`;
    case 'failed':
      return news.message;
  }
}

function mega(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
