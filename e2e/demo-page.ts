import { expect, type Locator, type Page } from 'playwright/test';

/** Where `model-host.ts` serves models. */
export const modelHost = 'http://localhost:4322';

/** A model of a dozen kernels, as compiling is what takes time on the software adapter, and of many dispatches. */
export const microModel = `#model=${modelHost}/micro-sd/&size=64x64&steps=2&g=1`;

/** The demo as a visitor meets it: by names and roles. */
export class DemoPage {
  readonly page: Page;
  readonly prompt: Locator;
  readonly stop: Locator;
  readonly start: Locator;
  readonly trouble: Locator;
  readonly progress: Locator;
  /** What is being done, in words. */
  readonly doing: Locator;
  readonly timings: Locator;
  readonly history: Locator;
  readonly queue: Locator;
  readonly timeline: Locator;
  readonly prints: Locator;

  constructor(page: Page) {
    this.page = page;
    const stage = page.getByRole('region', { name: 'Picture' });
    this.prompt = page.getByLabel('What should the picture show?');
    this.start = page.getByRole('button', { name: /^(Develop|Add to the queue)/ });
    this.stop = page.getByRole('button', { name: /^Stop Esc|^Stop$/ });
    this.trouble = page.getByRole('alert');
    this.progress = stage.getByRole('progressbar');
    this.doing = stage.locator('.progress-line');
    this.timings = stage.locator('.timings');
    this.prints = stage.locator('img');
    this.history = page.getByRole('region', { name: 'History' });
    this.queue = page.getByRole('region', { name: 'Queue' });
    this.timeline = page.getByRole('region', { name: 'Timeline' });
  }

  /** Waits for that many prints; trouble ends the waiting, with what the page says of it. */
  async printed(count: number, timeout = 100_000): Promise<void> {
    await this.prints
      .nth(count - 1)
      .or(this.trouble)
      .waitFor({ timeout });
    expect(await this.trouble.allTextContents()).toEqual([]);
  }

  /** Opens the settings unless they are. */
  async openSettings(): Promise<void> {
    if (!(await this.page.getByLabel('Steps').isVisible())) {
      await this.page.getByText('Settings', { exact: true }).click();
    }
  }

  async setSteps(steps: number): Promise<void> {
    await this.openSettings();
    await this.page.getByLabel('Steps').fill(String(steps));
    await this.page.getByLabel('Steps').blur();
  }

  /** Pixels of the n-th print, as one number that two different pictures hardly share. */
  async fingerprint(index = 0): Promise<string> {
    return this.prints.nth(index).evaluate(async (image: HTMLImageElement) => {
      const bytes = await (await fetch(image.src)).arrayBuffer();
      const digest = await crypto.subtle.digest('SHA-256', bytes);
      return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
    });
  }
}
