import { setTimeout } from 'node:timers/promises';
import { launchOptions, type FlagSet } from './chromium.ts';
import { chromium, type Browser, type Page } from './playwright.ts';
import { serve, type Mounts, type StaticServer } from './serve.ts';

export interface PageHostOptions {
  /** Folder of the built page, shown at `/`. */
  pageDir: string;
  /** Further folders by URL prefix. */
  mounts?: Mounts;
  flags: FlagSet;
}

/** A built page in a headless Chromium, served from this process. */
export interface PageHost extends AsyncDisposable {
  readonly server: StaticServer;
  /** A fresh page, opened and loaded; its console's warnings and errors go to `log`. */
  open(path: string, log?: (line: string) => void): Promise<Page>;
  /** Ends the browser, which may hang; the next page starts another, with an empty profile. */
  endBrowser(): Promise<void>;
}

/** How long a browser that hangs is waited for. */
const END_MS = 5000;

/** Starts the server at once and the browser with the first page; a browser that died is started again. */
export async function hostPages({ pageDir, mounts, flags }: PageHostOptions): Promise<PageHost> {
  const options = launchOptions(flags);
  const server = await serve({ '/': pageDir, ...mounts });
  let browser: Browser | undefined;
  const endBrowser = async (): Promise<void> => {
    const ended = browser;
    browser = undefined;
    await Promise.race([ended?.close(), setTimeout(END_MS, undefined, { ref: false })]);
  };
  return {
    server,
    endBrowser,
    async open(path, log = () => {}) {
      if (!browser?.isConnected()) browser = await chromium.launch(options);
      const page = await browser.newPage();
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') log(message.text());
      });
      page.on('pageerror', (error) => log(String(error)));
      await page.goto(`${server.url}/${path}`);
      return page;
    },
    async [Symbol.asyncDispose]() {
      await endBrowser();
      await server.close();
    },
  };
}
