import { expect, test } from 'playwright/test';
import { accessibilityFaults } from './accessibility.ts';
import { DemoPage } from './demo-page.ts';

test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: 'dark' });

test('fits a phone, with targets that fingers meet', async ({ page }) => {
  await page.goto('/#model=http%3A%2F%2Flocalhost%3A9%2Fsome-model%2F');
  const demo = new DemoPage(page);
  await demo.openSettings();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  const small = await page
    .locator('button:visible, select:visible, input:visible, textarea:visible, summary:visible')
    .evaluateAll((elements) =>
      elements
        .filter((element) => element.getBoundingClientRect().height < 44)
        .map((element) => element.outerHTML.slice(0, 100)),
    );
  expect(small).toEqual([]);
  expect(await accessibilityFaults(page)).toEqual([]);
});
