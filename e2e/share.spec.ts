import { expect, test } from 'playwright/test';
import { DemoPage } from './demo-page.ts';

// None of these waits for a model: a model from another site is not fetched before the visitor starts.
const elsewhere = 'model=http%3A%2F%2Flocalhost%3A9%2Fsome-model%2F';

test('a shared link restores prompt, seed and settings', async ({ page }) => {
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(
    `/#p=two+cats+%26+a+dog&n=blurry&steps=12&g=6.5&size=384x512&sampler=euler&seed=9007199254740991&${elsewhere}`,
  );
  const demo = new DemoPage(page);
  await demo.openSettings();
  await expect(demo.prompt).toHaveValue('two cats & a dog');
  await expect(page.getByLabel('Steer away from')).toHaveValue('blurry');
  await expect(page.getByLabel('Steps')).toHaveValue('12');
  await expect(page.getByLabel('Guidance')).toHaveValue('6.5');
  await expect(page.getByLabel('Size')).toHaveValue('384x512');
  await expect(page.getByLabel('Seed')).toHaveValue('9007199254740991');
  await expect(page.getByRole('button', { name: /^Model: some-model.*not loaded/ })).toBeVisible();
  expect(requests.filter((url) => url.endsWith('.onnx'))).toEqual([]);

  // Another link in the same tab.
  await page.evaluate(() => (location.hash = '#p=a+fox&seed=3'));
  await expect(demo.prompt).toHaveValue('a fox');
  await expect(page.getByLabel('Seed')).toHaveValue('3');
  await expect(page.getByLabel('Steer away from')).toHaveValue('');
});

test('nonsense in a link is left out', async ({ page }) => {
  await page.goto(`/#p=a+fox&steps=1e9&g=NaN&size=-4x8&seed=0.5&sampler=%3Cscript%3E&${elsewhere}`);
  const demo = new DemoPage(page);
  await demo.openSettings();
  await expect(demo.prompt).toHaveValue('a fox');
  await expect(page.getByLabel('Steps')).toHaveValue('25');
  await expect(page.getByLabel('Seed')).toHaveValue('');
});

test('a model that cannot be reached is told of with its remedy', async ({ page }) => {
  await page.goto(`/#p=a+fox&${elsewhere}`);
  const demo = new DemoPage(page);
  await demo.prompt.press('Enter');
  await expect(demo.trouble).toContainText('could not be fetched');
  await expect(demo.trouble).toContainText('CORS');
  await expect(demo.start).toBeVisible();
});

test('an empty prompt says what is missing', async ({ page }) => {
  await page.goto(`/#${elsewhere}`);
  const demo = new DemoPage(page);
  await demo.start.click();
  await expect(page.getByText('Type what the picture should show, or pick an example.')).toBeVisible();
  await expect(demo.prompt).toBeFocused();
  await page.getByRole('button', { name: 'a pink elephant' }).click();
  await expect(demo.prompt).toHaveValue('a pink elephant');
});
