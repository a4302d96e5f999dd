import { TextToImageClient } from 'calotype';
import type { ControlScenario } from '../requests-types.ts';
import type { BenchOptions, Measurement } from '../types.ts';
import { at } from './phase.ts';
import { ownRow } from './row.ts';
import { summary } from './timing.ts';

/** Requests under way at any time, each that is done followed by another. */
const REQUESTS = 8;

/** Times between the page's frames while a worker makes pictures, beside those of a quiet page and with half of the GPU. */
export async function runFrames(scenario: ControlScenario, options: BenchOptions): Promise<Measurement> {
  at('frames of a quiet page');
  const quiet = await frames(options.seconds);
  const whole = await whileGenerating(1, scenario, options);
  const half = await whileGenerating(0.5, scenario, options);
  return {
    row: {
      ...ownRow(scenario, options),
      ...summary(whole.intervals),
      relativeL2: null,
      peakBytes: null,
      dispatches: null,
      // The slowest of twenty: what one sees as a stutter.
      stages: {
        quiet: percentile95(quiet),
        'gpuShare 1': percentile95(whole.intervals),
        'gpuShare 0.5': percentile95(half.intervals),
      },
      imagesPerSecond: whole.imagesPerSecond,
      settings: `${half.imagesPerSecond.toFixed(2)} images/s with half of the GPU`,
    },
  };
}

async function whileGenerating(
  gpuShare: number,
  { size, steps }: ControlScenario,
  { precision, seconds }: BenchOptions,
): Promise<{ intervals: number[]; imagesPerSecond: number }> {
  at(`loading the model for gpuShare ${gpuShare}`);
  using client = await TextToImageClient.fromPretrained(new URL('/pocket/', location.href), {
    precision,
    gpuShare,
    sharing: 'none',
    warmUp: { width: size, height: size },
  });
  let made = 0;
  const end = new AbortController();
  const keepUp = async (seed: number): Promise<void> => {
    while (!end.signal.aborted) {
      const request = { prompt: 'a red panda', width: size, height: size, numInferenceSteps: steps, seed };
      for (const image of (await client.generate(request)).images) image.close();
      made++;
    }
  };
  at(`frames with gpuShare ${gpuShare}`);
  const requests = Array.from({ length: REQUESTS }, (_, seed) => keepUp(seed));
  // Kernels for each size of batch are compiled in the first seconds.
  await frames(seconds);
  const before = made;
  const intervals = await frames(seconds);
  const imagesPerSecond = ((made - before) * 1000) / intervals.reduce((sum, ms) => sum + ms, 0);
  end.abort();
  await Promise.all(requests);
  return { intervals, imagesPerSecond };
}

/** Draws a little in every frame for so long; the milliseconds from each frame to the next. */
async function frames(seconds: number): Promise<number[]> {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: 512, height: 512 });
  document.body.replaceChildren(canvas);
  const context = canvas.getContext('2d')!;
  const intervals: number[] = [];
  const start = await nextFrame();
  for (let last = start; last - start < seconds * 1000;) {
    const now = await nextFrame();
    intervals.push(now - last);
    last = now;
    context.fillStyle = `hsl(${now % 360} 80% 50%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  return intervals;
}

function nextFrame(): Promise<number> {
  return new Promise((resolve) => {
    requestAnimationFrame(resolve);
  });
}

function percentile95(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(0.95 * values.length) - 1]!;
}
