import { fileURLToPath } from 'node:url';
import { serve } from '@calotype/dev/serve';
import { expect, test } from 'playwright/test';
import { DemoPage, microModel } from './demo-page.ts';

const dist = fileURLToPath(new URL('../examples/demo/dist', import.meta.url));

test('isolated from other origins, and without its server after the first visit', async ({ page }) => {
  // It compiles all of Pocket, on a machine that may do other things.
  test.setTimeout(600_000);
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
  await page.getByRole('button', { name: 'About Calotype and its model' }).click();
  await expect(page.getByRole('dialog')).toContainText('The model: Pocket');
  await page.keyboard.press('Escape');
  await demo.prompt.fill('a red panda');
  await demo.prompt.press('Enter');
  await demo.printed(1, 500_000);
  await expect(demo.prints).toHaveAccessibleName(/Picture made by Pocket for “a red panda”/);
});
