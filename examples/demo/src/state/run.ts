import { batch, signal } from '@preact/signals';
import type { ClientProgress } from 'calotype';
import { toHash } from '../share.ts';
import { describeTrouble, type Trouble } from '../trouble.ts';
import { announce } from './announce.ts';
import { keep } from './history.ts';
import { choice, dropClient, ensureLoaded, modelState, nameOf } from './model.ts';
import type { Plate } from './plate.ts';
import { form, settings, type Settings } from './settings.ts';

/** A run that is under way. */
export interface Run {
  /** Which picture is being made, from 1, and how many in all. */
  picture: number;
  pictures: number;
  settings: Settings;
  /** Undefined while the model loads. */
  progress: ClientProgress | undefined;
  /** When the first step of this picture began, to tell how long the rest will take. */
  denoisingSince: number | undefined;
}

export const run = signal<Run | undefined>(undefined);
/** The latest state of the picture that is being made, where the runtime shows it. */
export const preview = signal<ImageBitmap | undefined>(undefined);
/** Pictures on the stage: one, or a grid. */
export const plates = signal<readonly Plate[]>([]);
/** The one of them that the buttons act on. */
export const selected = signal<string | undefined>(undefined);
export const trouble = signal<Trouble | undefined>(undefined);

let controller: AbortController | undefined;

/** Makes the pictures that the form asks for. */
export async function develop(): Promise<void> {
  if (run.value || !settings.value.prompt) return;
  const wanted = settings.value;
  const pictures = form.count.value;
  // 32 bits: short enough to read out, and enough to never meet twice.
  const firstSeed = form.seed.value ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
  controller = new AbortController();
  const { signal: stop } = controller;
  batch(() => {
    trouble.value = undefined;
    plates.value = [];
    selected.value = undefined;
    run.value = { picture: 1, pictures, settings: wanted, progress: undefined, denoisingSince: undefined };
  });
  announce('Started.');
  try {
    for (let index = 0; index < pictures; index++) {
      const plate = await makePlate(wanted, firstSeed + index, index, stop);
      batch(() => {
        plates.value = [...plates.value, plate];
        selected.value ??= plate.id;
      });
      void keep(plate);
      rememberInAddress(plates.value[0]!);
    }
    const seconds = plates.value.reduce((sum, { timings }) => sum + timings.totalMs, 0) / 1000;
    announce(
      `${pictures > 1 ? `${pictures} pictures` : 'The picture'} ready after ${seconds.toFixed(1)} seconds.`,
    );
  } catch (error) {
    if (stop.aborted) announce('Stopped.');
    else fail(error);
  } finally {
    run.value = undefined;
    showPreview(undefined);
  }
}

/** Stops the run; finished pictures stay. */
export function stopRun(): void {
  controller?.abort(new DOMException('Stopped', 'AbortError'));
}

/** Shows an earlier picture on the stage. */
export function showPlate(plate: Plate): void {
  plates.value = [plate];
  selected.value = plate.id;
  trouble.value = undefined;
}

async function makePlate(wanted: Settings, seed: number, index: number, stop: AbortSignal): Promise<Plate> {
  const started = performance.now();
  const pipeline = await orStop(ensureLoaded(), stop);
  const loadMs = performance.now() - started;
  const update = (change: Partial<Run>): void => {
    if (run.value) run.value = { ...run.value, ...change };
  };
  update({ picture: index + 1, denoisingSince: undefined });
  const { images, timings } = await pipeline.generate({
    prompt: wanted.prompt,
    numInferenceSteps: wanted.steps,
    guidanceScale: wanted.guidanceScale,
    width: wanted.width,
    height: wanted.height,
    seed,
    output: 'imageData',
    ...(wanted.guidanceScale > 1 && { negativePrompt: wanted.negativePrompt }),
    ...(wanted.sampler && { sampler: wanted.sampler }),
    signal: stop,
    onProgress: (progress) => {
      const begins = progress.stage === 'denoise' && progress.step === 0;
      update({ progress, ...(begins && { denoisingSince: performance.now() }) });
      const image = previewOf(progress);
      if (image) showPreview(image);
      if (begins) announce(`Denoising, ${progress.steps} steps.`);
    },
  });
  showPreview(undefined);
  const blob = await toPng(images[0]!);
  const { adapter, precision } = pipeline.info;
  const model = choice.value;
  return {
    id: `${Date.now()}-${seed}`,
    blob,
    url: URL.createObjectURL(blob),
    settings: wanted,
    seed,
    timings: { loadMs, ...timings, totalMs: performance.now() - started },
    model: nameOf(model),
    modelUrl: model.kind === 'url' ? model.url : undefined,
    adapter,
    precision,
    madeAt: Date.now(),
  };
}

async function toPng(image: ImageData): Promise<Blob> {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}

function fail(error: unknown): void {
  const told = describeTrouble(error);
  trouble.value = told;
  // A model that failed to load has said so itself; one that still works is kept.
  if (!told.survives && modelState.value.is === 'ready') dropClient();
}

/** Loading goes on when a run that waited for it is stopped: the next one will need it. */
function orStop<T>(promise: Promise<T>, stop: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(stop.reason as Error);
    stop.addEventListener('abort', abort, { once: true });
    void promise.then(resolve, reject).finally(() => stop.removeEventListener('abort', abort));
  });
}

/** The picture that a progress event carries, where the runtime sends previews. */
function previewOf(progress: ClientProgress): ImageBitmap | undefined {
  return 'preview' in progress ? progress.preview : undefined;
}

function showPreview(image: ImageBitmap | undefined): void {
  const before = preview.value;
  preview.value = image;
  before?.close();
}

/** A link to a picture's settings and seed. */
export function linkTo(plate: Plate): string {
  const { negativePrompt, sampler, ...rest } = plate.settings;
  const hash = toHash({
    ...rest,
    ...(negativePrompt && { negativePrompt }),
    ...(sampler && { sampler }),
    seed: plate.seed,
    ...(plate.modelUrl && { model: plate.modelUrl }),
  });
  return new URL(hash, location.href).href;
}

/** The address of the page names the picture, so that it can be copied and survives a reload. */
function rememberInAddress(plate: Plate): void {
  window.history.replaceState(null, '', linkTo(plate));
}
