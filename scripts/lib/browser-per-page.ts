import { PlaywrightBrowserProvider, playwright } from '@vitest/browser-playwright';
import type { Browser, LaunchOptions } from 'playwright';
import { chromium } from 'playwright';
import type { BrowserProviderOption } from 'vitest/node';

/**
 * Vitest's Playwright provider with a browser to each page. Pages of one browser share its GPU process, and SwiftShader
 * compiles one shader at a time in a process, which is most of what the tests take: two such pages are no quicker than
 * one.
 */
export function browserPerPage(launchOptions: LaunchOptions): BrowserProviderOption {
  return {
    ...playwright({ launchOptions }),
    providerFactory: (project) => new BrowserPerPage(project, { launchOptions }),
  };
}

class BrowserPerPage extends PlaywrightBrowserProvider {
  readonly #launchOptions: LaunchOptions;
  readonly #browsers: Browser[] = [];

  constructor(...[project, options]: ConstructorParameters<typeof PlaywrightBrowserProvider>) {
    super(project, options);
    this.#launchOptions = options.launchOptions ?? {};
  }

  override async openPage(
    ...[session, url, options]: Parameters<PlaywrightBrowserProvider['openPage']>
  ): Promise<void> {
    if (!this.contexts.has(session)) {
      const browser = await chromium.launch(this.#launchOptions);
      this.#browsers.push(browser);
      // A page is opened in its session's context where there is one.
      this.contexts.set(session, await browser.newContext());
    }
    await super.openPage(session, url, options);
  }

  override async close(): Promise<void> {
    await super.close();
    await Promise.all(this.#browsers.map((browser) => browser.close()));
  }
}
