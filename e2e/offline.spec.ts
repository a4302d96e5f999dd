import { fileURLToPath } from 'node:url';
import { serve } from '@calotype/dev/serve';
import { expect, test } from 'playwright/test';
import { DemoPage } from './demo-page.ts';

const dist = fileURLToPath(new URL('../examples/demo/dist', import.meta.url));

test('isolated from other origins, and without its server after the first visit', async ({ page }) => {
  // From a folder, as on any static host: only the build's own files, below a path.
  const mounts = { '/some/path/': dist };
  const headers = {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
  };
  const server = await serve(mounts, { headers });
  await page.goto(`${server.url}/some/path/`);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await expect(page.locator('html[data-offline="ready"]')).toBeAttached({ timeout: 200_000 });
  await server.close();

  await page.reload();
  const demo = new DemoPage(page);
  await expect(demo.prompt).toBeFocused();
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  // The denoiser's turn comes when the configs, the tokenizer and the text encoder have been read from the cache.
  await expect(page.getByText(/Loading .*: .* the (denoiser|decoder)/)).toBeVisible({ timeout: 90_000 });
  await expect(demo.trouble).toHaveCount(0);
  await page.getByRole('button', { name: 'About Calotype and its model' }).click();
  await expect(page.getByRole('dialog')).toContainText('The model:');
});
