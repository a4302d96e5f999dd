import { readFile } from 'node:fs/promises';
import { expect, test, type Page } from 'playwright/test';
import { accessibilityFaults } from './accessibility.ts';
import { DemoPage, microModel } from './demo-page.ts';

// One page for all: each would load the model anew, which is what takes time on the software adapter.
test.describe.configure({ mode: 'serial' });

let page: Page;
let demo: DemoPage;

test.beforeAll(async ({ browser }) => {
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  page = await context.newPage();
  demo = new DemoPage(page);
  await page.goto(`/${microModel}`);
});

test.afterAll(() => page.close());

test('makes a picture with the keyboard alone', async () => {
  await expect(demo.prompt).toBeFocused();
  await page.keyboard.type('a red panda');
  await page.keyboard.press('Enter');
  await expect(demo.progress).toBeVisible();
  await expect(demo.stop).toBeVisible();
  await demo.printed(1);
  await expect(demo.prints).toHaveAccessibleName(/Picture made by .+ for “a red panda”/);
  await expect(demo.timings).toContainText(/Prompt.*Denoising.*Decoding.*In all/s);
  await expect(demo.timings).toContainText(/On .*swiftshader.*, (f32|packed-f16|f16)/i);
  await expect(page.getByRole('status')).toContainText('ready after');
  // Focus has not been taken away.
  await expect(demo.prompt).toBeFocused();
  const size = await demo.prints.evaluate((image: HTMLImageElement) => [
    image.naturalWidth,
    image.naturalHeight,
  ]);
  expect(size).toEqual([64, 64]);
});

test('the picture can be downloaded, copied and linked to', async () => {
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download' }).click();
  expect((await download).suggestedFilename()).toMatch(/^a-red-panda-\d+\.png$/);
  await page.getByRole('button', { name: 'Link' }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).toBe(page.url());
  expect(link).toMatch(/#p=a\+red\+panda&steps=2&g=1&size=64x64&seed=\d+&model=/);
  await page.getByRole('button', { name: 'Copy' }).click();
  await expect(page.getByRole('status')).toHaveText('Picture copied.');
  const types = await page.evaluate(async () => (await navigator.clipboard.read())[0]?.types);
  expect(types).toContain('image/png');
});

test('replay gives the same picture', async () => {
  const before = await demo.fingerprint();
  await page.getByRole('button', { name: 'Replay' }).click();
  await expect(demo.history.getByRole('img')).toHaveCount(2);
  await demo.printed(1);
  expect(await demo.fingerprint()).toBe(before);
});

test('a run is stopped, and the next one works', async () => {
  // Whichever step it is when it is looked at.
  await demo.setSteps(150);
  await demo.prompt.press('Enter');
  await expect(demo.doing).toContainText(/Denoising, step \d+ of/);
  await page.keyboard.press('Escape');
  await expect(demo.start).toHaveText(/^Develop/, { timeout: 2_000 });
  await expect(page.getByRole('status')).toHaveText('Stopped.');
  await expect(demo.prints).toHaveCount(0);
  await demo.setSteps(1);
  await demo.prompt.press('Enter');
  await demo.printed(1);
});

test('a grid of four has four seeds', async () => {
  await page.getByLabel('Pictures').selectOption('4');
  await page.getByLabel('Seed').fill('7');
  await demo.prompt.press('Enter');
  await demo.printed(4);
  await expect(demo.timings).toBeVisible();
  await expect(demo.timings).toContainText('of 4 pictures at once');
  await page.getByRole('button', { name: 'Picture 3, seed 9' }).click();
  await expect(page.locator('.seed')).toHaveText('9');
  expect(await demo.fingerprint(0)).not.toBe(await demo.fingerprint(1));
});

test('history brings a picture back', async () => {
  await demo.history
    .getByRole('button', { name: /Picture made/ })
    .last()
    .click();
  await expect(demo.prints).toHaveCount(1);
  await expect(page.getByText(/64 × 64, 2 steps/).first()).toBeVisible();
});

test('several requests share the engine, in an order that can be changed', async () => {
  await page.getByLabel('Pictures').selectOption('1');
  await demo.setSteps(80);
  const rows = demo.queue
    .getByRole('listitem')
    .filter({ has: page.getByRole('button', { name: /^Cancel/ }) });
  for (const prompt of ['first', 'second', 'third']) {
    await demo.prompt.fill(prompt);
    await demo.prompt.press('Enter');
  }
  await expect(rows).toHaveText([/^first/, /^second/, /^third/]);
  await page.getByRole('button', { name: 'Earlier: third' }).click();
  await expect(rows).toHaveText([/^first/, /^third/, /^second/]);
  await page.getByRole('button', { name: 'Cancel: second' }).click();
  // A preview while it denoises, of one that is not on the stage.
  await expect(rows.filter({ hasText: 'third' }).locator('canvas')).toBeAttached();
  await expect(demo.queue.getByText('Nothing under way')).toBeVisible({ timeout: 60_000 });
  await expect(demo.queue.getByRole('listitem').filter({ hasText: 'second' })).toContainText('Stopped');
  await expect(demo.trouble).toHaveCount(0);
  // Programs for shared steps were made meanwhile, which is no loading of the model.
  await expect(page.getByRole('button', { name: /^Model:.*ready/ })).toBeVisible();
  expect(await accessibilityFaults(page)).toEqual([]);

  await expect(demo.timeline.getByRole('img').first()).toHaveAccessibleName(
    /GPU: .*first: .*Denoising .*third: /,
  );
  const download = page.waitForEvent('download');
  await demo.timeline.getByRole('button', { name: 'Chrome trace' }).click();
  const trace = JSON.parse(await readFile(await (await download).path(), 'utf8')) as {
    traceEvents: { name: string; args?: { requests?: string[] } }[];
  };
  const served = trace.traceEvents
    .filter(({ name }) => name === 'denoise')
    .flatMap(({ args }) => args?.requests ?? []);
  expect(served.some((name) => name.startsWith('first'))).toBe(true);
  expect(served.some((name) => name.startsWith('third'))).toBe(true);
});

test('axe finds no fault, light or dark, dialogs included', async () => {
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.getByRole('button', { name: 'Switch to the dark theme' }).click();
  await page.getByRole('button', { name: /^Model:/ }).click();
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await expect(page.getByRole('button', { name: /^Model:/ })).toBeFocused();
  await page.getByRole('button', { name: 'About Calotype and its model' }).click();
  await expect(page.getByRole('dialog')).toContainText('The model:');
  expect(await accessibilityFaults(page)).toEqual([]);
  await page.keyboard.press('Escape');
});

test('history and the last prompt survive a reload', async () => {
  await page.reload();
  await expect(demo.prompt).not.toHaveValue('');
  // One picture, its replay, the one after the stop, the grid, and two out of the queue.
  await expect(demo.history.getByRole('img')).toHaveCount(9);
  await demo.history.getByRole('button').last().click();
  await expect(demo.prints).toHaveAccessibleName(/a red panda/);
});

test('a broken model is told of, and the page goes on', async () => {
  const drop = (files: Record<string, string>): Promise<void> =>
    page.evaluate((contents) => {
      const data = new DataTransfer();
      for (const [name, text] of Object.entries(contents)) data.items.add(new File([text], name));
      document.body.dispatchEvent(
        new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }),
      );
    }, files);

  await drop({ 'holiday.txt': 'not a model' });
  await expect(demo.trouble).toContainText('not a model that Calotype can open');
  await expect(demo.trouble).toContainText('model_index.json');
  expect(await accessibilityFaults(page)).toEqual([]);

  await drop({ 'model_index.json': '{ "unet": ' });
  await expect(demo.trouble).toContainText('not a model');

  await demo.trouble.getByRole('button', { name: /^Back to/ }).click();
  await expect(demo.trouble).toHaveCount(0);
  await expect(demo.prompt).toBeFocused();
  await expect(page.getByRole('button', { name: /^Model:.*(loading|ready)/ })).toBeVisible();
});
