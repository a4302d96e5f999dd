import { createRequire } from 'node:module';
import type * as Playwright from 'playwright-core';

export type { Browser, Page } from 'playwright-core';

// require, not import: it honours NODE_PATH, by which a machine without this workspace names its own copy.
const playwright: typeof Playwright = createRequire(import.meta.url)('playwright-core');

/** Playwright's Chromium. */
export const chromium: typeof Playwright.chromium = playwright.chromium;
