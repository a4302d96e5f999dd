import { launchOptions } from '@calotype/dev/chromium';
import { expect, test } from 'playwright/test';
import { DemoPage } from './demo-page.ts';

const { args, ...rest } = launchOptions('software');
test.use({
  launchOptions: {
    ...rest,
    args: [...args.filter((flag) => !flag.includes('webgpu')), '--disable-features=WebGPU,WebGPUService'],
  },
});

test('without WebGPU the page says so, what to do, and stays usable', async ({ page }) => {
  await page.goto('/');
  const demo = new DemoPage(page);
  await expect(demo.trouble).toContainText(/no WebGPU|No graphics card/);
  await expect(demo.trouble).toContainText(/Chrome or Edge|hardware acceleration/);
  await expect(demo.trouble.getByRole('button', { name: 'Check again' })).toBeVisible();
  await demo.prompt.fill('a fox');
  await demo.prompt.press('Enter');
  await expect(demo.start).toBeVisible();
  await expect(demo.trouble).toHaveCount(1);
});
