import { fileURLToPath } from 'node:url';
import { launchOptions } from '@calotype/dev/chromium';
import { defineConfig } from 'playwright/test';

// The demo as `npm start` serves it. Each worker has a browser, and each browser a software GPU of its own.
export default defineConfig({
  testDir: '.',
  globalSetup: fileURLToPath(new URL('./model-host.ts', import.meta.url)),
  outputDir: '../test-results/e2e',
  // Two at a time take longer than one after the other on two cores: SwiftShader itself keeps both busy.
  workers: 1,
  timeout: 300_000,
  expect: { timeout: 30_000 },
  use: {
    baseURL: 'http://localhost:4321',
    launchOptions: launchOptions('software'),
    trace: 'retain-on-failure',
  },
  webServer: {
    command: `node scripts/bootstrap.mjs start --port 4321 ${process.env['DEMO_IS_BUILT'] ? '--built' : ''}`,
    cwd: '..',
    url: 'http://localhost:4321',
    timeout: 120_000,
    reuseExistingServer: false,
  },
});
