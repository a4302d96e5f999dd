import { fileURLToPath } from 'node:url';
import { serve } from '@calotype/dev/serve';
import { expect, test } from 'playwright/test';
import { DemoPage, microModel } from './demo-page.ts';

const dist = fileURLToPath(new URL('../examples/demo/dist', import.meta.url));

test('isolated from other origins, and without its server after the first visit', async ({ page }) => {
  // From a folder, as on any static host: only the build's own files, below a path.
  const mounts = { '/some/path/': dist };
  const headers = {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
  };
  const server = await serve(mounts, { headers });
  const home = `${server.url}/some/path/`;
  const demo = new DemoPage(page);
  // The page and Pocket are kept when a model is ready: here one that is sooner.
  await page.goto(`${home}${microModel}`);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await demo.prompt.fill('a fox');
  await demo.prompt.press('Enter');
  await demo.printed(1);
  await expect(page.locator('html[data-offline="ready"]')).toBeAttached({ timeout: 60_000 });
  await server.close();

  await page.goto(home);
  await expect(demo.prompt).toBeFocused();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  // The denoiser's turn comes when the configs, the tokenizer and the text encoder have been read from the cache. Its picture
  // is `pocket.gpu.test.ts`'s: compiling takes a minute.
  await expect(page.getByText(/Loading .*: .* the (denoiser|decoder)/)).toBeVisible({ timeout: 90_000 });
  await expect(demo.trouble).toHaveCount(0);
  await page.getByRole('button', { name: 'About Calotype and its model' }).click();
  await expect(page.getByRole('dialog')).toContainText('The model: Pocket');
});
