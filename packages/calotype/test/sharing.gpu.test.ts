import { afterEach, expect, test } from 'vitest';
import type { GenerateResult, Sharing, TextToImageClient } from '../src/index.ts';
import type { Tab } from './tab.ts';

/** A document of this origin. To locks, channels and workers it is what a tab is, and removing it is closing one. */
class Frame {
  readonly element: HTMLIFrameElement = document.createElement('iframe');
  client!: TextToImageClient;

  static async open(sharing: Sharing): Promise<Frame> {
    const frame = new Frame();
    frame.element.src = '/fixtures/tiny-sd/model_index.json';
    await new Promise<void>((loaded) => {
      frame.element.addEventListener('load', () => loaded(), { once: true });
      document.body.append(frame.element);
    });
    const { contentDocument, contentWindow } = frame.element;
    const script = contentDocument!.createElement('script');
    script.type = 'module';
    script.src = new URL('./tab.ts', import.meta.url).href;
    await new Promise<void>((loaded, failed) => {
      script.addEventListener('load', () => loaded());
      script.addEventListener('error', () => failed(new Error('tab.ts could not be loaded')));
      contentDocument!.head.append(script);
    });
    const { TextToImageClient: Client } = contentWindow!.calotypeTab as Tab;
    frame.client = await Client.fromPretrained('/fixtures/tiny-sd/', {
      precision: 'f32',
      warmUp: { width: 64, height: 64 },
      sharing,
    });
    frames.push(frame);
    return frame;
  }

  close(): void {
    this.element.remove();
  }
}

const frames: Frame[] = [];

afterEach(() => {
  for (const frame of frames.splice(0)) frame.close();
});

const options = {
  prompt: 'a cat',
  numInferenceSteps: 12,
  // Without guidance a step takes half as long.
  guidanceScale: 1,
  width: 64,
  height: 64,
  output: 'imageData',
} as const;

function worstDifference(a: GenerateResult<'imageData'>, b: GenerateResult<'imageData'>): number {
  let worst = 0;
  a.images[0]!.data.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - b.images[0]!.data[i]!))));
  return worst;
}

test('tabs share one engine in a shared worker; a closed one takes only its own requests along', async () => {
  const tabs = [await Frame.open('tabs'), await Frame.open('tabs'), await Frame.open('tabs')];
  const [first, second, third] = tabs as [Frame, Frame, Frame];
  const alone = await second.client.generate({ ...options, seed: 2 });
  expect(await third.client.stats()).toMatchObject({
    thread: 'shared-worker',
    models: 1,
    requests: 0,
    // Which a page has lent.
    cpu: { place: 'worker' },
  });
  let running = false;
  void first.client.generate({
    ...options,
    numInferenceSteps: 200,
    seed: 1,
    onProgress: () => (running = true),
  });
  await expect.poll(() => running).toBe(true);
  const survivor = second.client.generate({ ...options, seed: 2 });
  await expect.poll(async () => (await third.client.stats()).requests).toBe(2);
  first.close();
  expect(worstDifference(await survivor, alone)).toBeLessThanOrEqual(1);
  await expect.poll(async () => (await third.client.stats()).requests).toBe(0);
  // The page that came last has lent its worker. The next one lends its own.
  third.close();
  const again = await second.client.generate({ ...options, seed: 2 });
  expect(worstDifference(again, alone)).toBeLessThanOrEqual(1);
  expect((await second.client.stats()).cpu).toEqual({ place: 'worker' });
});

test('when the leading tab closes another takes over, and no request of the others is lost', async () => {
  const tabs = [await Frame.open('leader'), await Frame.open('leader'), await Frame.open('leader')];
  const [leader, second, third] = tabs as [Frame, Frame, Frame];
  const alone = await third.client.generate({ ...options, numInferenceSteps: 60, seed: 3 });
  expect(await second.client.stats()).toMatchObject({ thread: 'worker', models: 1 });
  const steps: number[] = [];
  const requests = [
    second.client.generate({ ...options, seed: 2 }),
    third.client.generate({
      ...options,
      numInferenceSteps: 60,
      seed: 3,
      onProgress: (progress) => progress.stage === 'denoise' && steps.push(progress.step),
    }),
  ];
  await expect.poll(() => steps.at(-1) ?? 0).toBeGreaterThan(35);
  const reached = steps.at(-1)!;
  leader.close();
  const [, result] = await Promise.all(requests);
  expect(worstDifference(result!, alone)).toBeLessThanOrEqual(1);
  // It went on from a checkpoint: the first step that the new leader tells of is not the first of all.
  const again = steps.slice(steps.lastIndexOf(reached) + 1)[0]!;
  expect(again).toBeGreaterThan(0);
  expect(again).toBeLessThanOrEqual(reached + 1);
});
