import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { playwrightCli } from './playwright.ts';

test("Playwright's command can install Chromium", () => {
  const planned = execFileSync(process.execPath, [playwrightCli(), 'install', '--dry-run', 'chromium']);
  expect(String(planned)).toMatch(/Install location/);
});
