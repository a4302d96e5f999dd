import { afterEach, expect, test } from 'vitest';
import {
  TextToImageClient,
  type ClientGenerateOptions,
  type ClientProgress,
  type GenerateResult,
  type Sharing,
} from '../src/index.ts';
import type { Tab } from './tab.ts';

type Pictures = GenerateResult<'imageData'>;
type Options = ClientGenerateOptions<'imageData'>;

const disposables: Disposable[] = [];

afterEach(() => {
  for (const disposable of disposables.splice(0)) disposable[Symbol.dispose]();
});

/** A document of this origin. To locks, channels and workers it is what a tab is, and removing it is closing one. */
class Frame {
  readonly element: HTMLIFrameElement = document.createElement('iframe');
  client!: TextToImageClient;

  static async open(sharing: Sharing): Promise<Frame> {
    const frame = new Frame();
    frame.element.src = '/fixtures/micro-sd/model_index.json';
    await new Promise<void>((loaded) => {
      frame.element.addEventListener('load', () => loaded(), { once: true });
      document.body.append(frame.element);
    });
    disposables.push(frame);
    const { contentDocument, contentWindow } = frame.element;
    const script = contentDocument!.createElement('script');
    script.type = 'module';
    script.src = new URL('./tab.ts', import.meta.url).href;
    await new Promise<void>((loaded, failed) => {
      script.addEventListener('load', () => loaded());
      script.addEventListener('error', () => failed(new Error('tab.ts could not be loaded')));
      contentDocument!.head.append(script);
    });
    frame.client = await load(contentWindow!.calotypeTab!, sharing);
    return frame;
  }

  close(): void {
    this.element.remove();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function load({ TextToImageClient: Client, worker }: Tab, sharing: Sharing): Promise<TextToImageClient> {
  return Client.fromPretrained('/fixtures/micro-sd/', {
    precision: 'f32',
    warmUp: false,
    sharing,
    // One who leads makes checkpoints often; those of others are made each second.
    ...(sharing === 'leader' && { worker }),
  });
}

/** Joins from the page of the tests, which is one more tab. */
async function join(sharing: Sharing): Promise<TextToImageClient> {
  const worker = (): Worker => {
    throw new Error('A tab of its own leads.');
  };
  const client = await load({ TextToImageClient, worker }, sharing);
  disposables.push(client);
  return client;
}

const options = {
  prompt: 'a cat',
  numInferenceSteps: 200,
  guidanceScale: 1,
  width: 64,
  height: 64,
  output: 'imageData',
} as const;

/** A generation that has made its first step. */
async function started(client: TextToImageClient, wanted: Options): Promise<{ result: Promise<Pictures> }> {
  return new Promise((resolve, reject) => {
    const result = client.generate({
      ...wanted,
      onProgress: (progress) => {
        if (progress.stage === 'denoise' && progress.step > 0) resolve({ result });
      },
    });
    result.catch(reject);
  });
}

function worstDifference(a: GenerateResult<'imageData'>, b: GenerateResult<'imageData'>): number {
  let worst = 0;
  a.images[0]!.data.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - b.images[0]!.data[i]!))));
  return worst;
}

function stepsOf(told: readonly ClientProgress[]): number[] {
  return told.flatMap((progress) => (progress.stage === 'denoise' ? [progress.step] : []));
}

test('tabs share one engine in a shared worker; a closed one takes only its own requests along', async () => {
  const first = await Frame.open('tabs');
  const second = await join('tabs');
  const third = await Frame.open('tabs');
  const alone = await second.generate({ ...options, seed: 2 });
  expect(await third.client.stats()).toMatchObject({
    thread: 'shared-worker',
    models: 1,
    requests: 0,
    // Which a page has lent.
    cpu: { place: 'worker' },
  });
  await started(first.client, { ...options, numInferenceSteps: 1000, seed: 1 });
  const survivor = await started(second, { ...options, seed: 2 });
  expect((await third.client.stats()).requests).toBe(2);
  first.close();
  expect(worstDifference(await survivor.result, alone)).toBeLessThanOrEqual(1);
  await expect.poll(async () => (await third.client.stats()).requests).toBe(0);
  // The page that came last has lent its worker. The next one lends its own.
  third.close();
  const again = await second.generate({ ...options, seed: 2 });
  expect(worstDifference(again, alone)).toBeLessThanOrEqual(1);
  expect((await second.stats()).cpu).toEqual({ place: 'worker' });
});

test('when the leading tab closes another takes over, and no request of the others is lost', async () => {
  const leader = await Frame.open('leader');
  const second = await Frame.open('leader');
  const third = await join('leader');
  const alone = await third.generate({ ...options, seed: 3 });
  expect(await second.client.stats()).toMatchObject({ thread: 'worker', models: 1 });
  const waiting = await started(second.client, { ...options, seed: 2 });
  const told: ClientProgress[] = [];
  let reached = 0;
  const result = await third.generate({
    ...options,
    seed: 3,
    onProgress: (progress) => {
      if (reached) told.push(progress);
      else if (progress.stage === 'denoise' && progress.step >= 80) {
        reached = progress.step;
        leader.close();
      }
    },
  });
  await waiting.result;
  expect(worstDifference(result, alone)).toBeLessThanOrEqual(1);
  // It went on from a checkpoint: the first step that the new leader tells of is not the first of all.
  const restart = told.findIndex(({ stage }) => stage === 'encode');
  expect(restart).not.toBe(-1);
  const again = told.slice(restart).find((progress) => progress.stage === 'denoise')!;
  expect(again.step).toBeGreaterThan(0);
  // What the old one had still told may be further on.
  expect(again.step).toBeLessThanOrEqual(Math.max(reached, ...stepsOf(told.slice(0, restart))));
});
