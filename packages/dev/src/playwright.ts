import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as Playwright from 'playwright-core';

export type { Browser, Page } from 'playwright-core';

// require, not import: it honours NODE_PATH, by which a machine without this workspace names its own copy.
const load = createRequire(import.meta.url);
const playwright: typeof Playwright = load('playwright-core');

/** Playwright's Chromium. */
export const chromium: typeof Playwright.chromium = playwright.chromium;

/** Path of Playwright's command, which installs browsers. */
export function playwrightCli(): string {
  return join(dirname(load.resolve('playwright-core/package.json')), 'cli.js');
}
