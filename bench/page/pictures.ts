import { TextToImagePipeline, type Timings } from 'calotype';
import type { ColdStart, PictureModel, PictureScenario } from '../scenarios.ts';
import type { BenchOptions, Measurement } from '../types.ts';
import { fullSizeFolder } from './full-size-folder.ts';
import { at } from './phase.ts';
import { ownRow } from './row.ts';
import { median, summary, timed } from './timing.ts';
import { watchGpu, type Watch } from './watch.ts';

const prompt = 'a lighthouse at night';

let loaded: { model: PictureModel; pipeline: Promise<TextToImagePipeline> } | undefined;
let watch: Watch | undefined;

/** Times text to image, from the call to the pictures on a canvas. */
export async function runPictures(scenario: PictureScenario, options: BenchOptions): Promise<Measurement> {
  const { size, steps, guidance, images } = scenario;
  watch ??= watchGpu();
  at('loading the model');
  loaded ??= { model: scenario.model, pipeline: load(scenario.model, options) };
  if (loaded.model !== scenario.model) throw new Error(`This page has ${loaded.model} loaded.`);
  const pipeline = await loaded.pipeline;
  const timings: Timings[] = [];
  const once = async (): Promise<number> => {
    const started = performance.now();
    const result = await pipeline.generate({
      prompt,
      width: size,
      height: size,
      numInferenceSteps: steps,
      guidanceScale: guidance,
      numImages: images,
      seed: 1,
    });
    show(result.images);
    timings.push(result.timings);
    return performance.now() - started;
  };
  at('its first pictures');
  const cold = await once();
  const before = watch.dispatches;
  await once();
  const dispatches = watch.dispatches - before;
  at('timing');
  const times = await timed(once, options.runs);
  const measured = timings.slice(-times.runs);
  const stage = (name: keyof Timings): number => median(measured.map((each) => each[name]));
  return {
    row: {
      ...ownRow(scenario, options),
      ...times,
      relativeL2: null,
      peakBytes: pipeline.engine.buffers.peakBytes,
      dispatches,
      coldMs: cold,
      stages: { encode: stage('encodeMs'), denoise: stage('denoiseMs'), decode: stage('decodeMs') },
      imagesPerSecond: (1000 * images) / times.medianMs,
    },
  };
}

async function load(model: PictureModel, { precision }: BenchOptions): Promise<TextToImagePipeline> {
  const source =
    model === 'tiny-sd-turbo'
      ? new URL('/fixtures/tiny-sd-turbo/', location.href).href
      : await fullSizeFolder(model);
  return TextToImagePipeline.fromPretrained(source, { precision, warmUp: false });
}

/** Loads a model from the runner's server into an empty profile and makes its first picture. Once a page. */
export async function runColdStart(scenario: ColdStart, options: BenchOptions): Promise<Measurement> {
  const counts = watchGpu();
  at('loading the model');
  const started = performance.now();
  const url = new URL(scenario.model === 'pocket' ? '/pocket/' : `/made/${scenario.model}/`, location.href)
    .href;
  let fetched = 0;
  using pipeline = await TextToImagePipeline.fromPretrained(url, {
    precision: options.precision,
    onFetch: () => (fetched = performance.now() - started),
  });
  const ready = performance.now() - started;
  at('its first picture');
  const { size, steps } = scenario;
  const { images, timings } = await pipeline.generate({
    prompt,
    seed: 1,
    ...(steps !== undefined && { numInferenceSteps: steps }),
    ...(size !== undefined && { width: size, height: size }),
  });
  show(images);
  const total = performance.now() - started;
  const bytes = pipeline.model
    .storeReports()
    .flatMap(({ files }) => files)
    .reduce((sum, { loadedBytes }) => sum + loadedBytes, 0);
  return {
    row: {
      ...ownRow(scenario, options),
      ...summary([total]),
      relativeL2: null,
      peakBytes: pipeline.engine.buffers.peakBytes,
      dispatches: null,
      // Compiling goes on beside fetching.
      stages: { fetch: fetched, compile: counts.compileMs, ready, picture: timings.totalMs },
      settings: `${(bytes / 2 ** 20).toFixed(0)} MiB fetched`,
    },
  };
}

let canvas: CanvasRenderingContext2D | undefined;

/**
 * Draws pictures beside each other, and waits until that is done: reading a pixel back does. The canvas keeps its pixels where
 * that costs no round trip to the GPU.
 */
function show(images: readonly ImageBitmap[]): void {
  const [{ width, height }] = images as [ImageBitmap];
  if (canvas?.canvas.width !== width * images.length) {
    canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })!;
    Object.assign(canvas.canvas, { width: width * images.length, height });
    document.body.replaceChildren(canvas.canvas);
  }
  images.forEach((image, i) => canvas!.drawImage(image, i * width, 0));
  canvas.getImageData(0, 0, 1, 1);
  for (const image of images) image.close();
}
