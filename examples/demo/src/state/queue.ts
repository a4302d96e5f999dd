import { batch, computed, signal, type ReadonlySignal } from '@preact/signals';
import type { ClientProgress, GenerationHandle } from 'calotype';
import { describeTrouble, type Trouble } from '../trouble.ts';
import { announce } from './announce.ts';
import { keep } from './history.ts';
import { choice, dropClient, ensureLoaded, modelState, nameOf } from './model.ts';
import { rememberInAddress, type Plate } from './plate.ts';
import { beginRecording, endRecording } from './recording.ts';
import { form, settings, type Settings } from './settings.ts';

/** A request for one picture or a grid of them, which are made together. */
export interface Job {
  readonly id: number;
  /** What recordings call it. */
  readonly name: string;
  readonly settings: Settings;
  /** Of the first picture; each further one has the next. */
  readonly seed: number;
  readonly pictures: number;
  readonly state: 'open' | 'done' | 'stopped' | 'failed';
  /** Undefined while the model loads. */
  readonly progress: ClientProgress | undefined;
  /** The latest state of its first picture. */
  readonly preview: ImageBitmap | undefined;
  /** Higher goes first. */
  readonly priority: number;
  readonly plates: readonly Plate[];
}

/** Settled requests that stay in the list. */
const MOST_SETTLED = 8;

/** All requests of this visit that are still listed, by arrival. */
export const jobs = signal<readonly Job[]>([]);
/** Those that are not settled, in the order of their turns. */
export const openJobs: ReadonlySignal<readonly Job[]> = computed(() =>
  jobs.value
    .filter(({ state }) => state === 'open')
    .toSorted((a, b) => b.priority - a.priority || a.id - b.id),
);

/** Pictures on the stage: one, or a grid. */
export const plates = signal<readonly Plate[]>([]);
/** The one of them that the buttons act on. */
export const selected = signal<string | undefined>(undefined);
export const trouble = signal<Trouble | undefined>(undefined);

const shownId = signal<number | undefined>(undefined);
/** The request on the stage, if its pictures are still being made. */
export const current: ReadonlySignal<Job | undefined> = computed(() =>
  openJobs.value.find(({ id }) => id === shownId.value),
);

const controllers = new Map<number, AbortController>();
const handles = new Map<number, GenerationHandle<'blob'>>();
let next = 1;
/** Whether the visitor has chosen what the stage shows; else it follows what is finished. */
let isChosen = false;

/** Asks for the pictures that the form describes. Any number of requests may be open at once. */
export function develop(): void {
  if (!settings.value.prompt) return;
  const before = openJobs.value;
  // 32 bits: short enough to read out, and enough to never meet twice.
  const seed = form.seed.value ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
  const job: Job = {
    id: next++,
    name: `${settings.value.prompt} (seed ${seed}, ${next - 1})`,
    settings: settings.value,
    seed,
    pictures: form.count.value,
    state: 'open',
    progress: undefined,
    preview: undefined,
    // After all others, also those that were moved.
    priority: Math.min(0, ...before.map(({ priority }) => priority)),
    plates: [],
  };
  batch(() => {
    trouble.value = undefined;
    jobs.value = [...listed(), job];
    if (before.length === 0) showJob(job, false);
  });
  announce(before.length > 0 ? `Added to the queue, after ${before.length}.` : 'Started.');
  void work(job);
}

/** Stops a request. */
export function stopJob(id: number): void {
  controllers.get(id)?.abort(new DOMException('Stopped', 'AbortError'));
}

/** Stops the request on the stage, or else the one whose turn it is. */
export function stopCurrent(): void {
  const job = current.value ?? openJobs.value[0];
  if (job) stopJob(job.id);
}

export function stopAll(): void {
  for (const { id } of openJobs.value) stopJob(id);
}

/** Moves an open request by places in the order of turns. */
export function moveJob(id: number, by: -1 | 1): void {
  const order = openJobs.value.map((job) => job.id);
  const from = order.indexOf(id);
  if (from === -1 || from + by < 0 || from + by >= order.length) return;
  order.splice(from, 1);
  order.splice(from + by, 0, id);
  batch(() => {
    order.forEach((other, place) => {
      const priority = order.length - place;
      update(other, { priority });
      // One that has just settled needs no place any more.
      handles
        .get(other)
        ?.reorder({ priority })
        .catch(() => {});
    });
  });
  announce(`Now ${from + by + 1} of ${order.length}.`);
}

/** Shows a request's pictures on the stage, or how they come into being. */
export function showJob(job: Job, chosen = true): void {
  isChosen = chosen;
  batch(() => {
    shownId.value = job.id;
    plates.value = job.plates;
    selected.value = job.plates[0]?.id;
  });
}

/** Shows an earlier picture on the stage. */
export function showPlate(plate: Plate): void {
  isChosen = true;
  batch(() => {
    shownId.value = undefined;
    plates.value = [plate];
    selected.value = plate.id;
    trouble.value = undefined;
  });
}

/** Takes settled requests off the list. */
export function clearSettled(): void {
  jobs.value = openJobs.value;
}

async function work(job: Job): Promise<void> {
  const { id } = job;
  const controller = new AbortController();
  controllers.set(id, controller);
  try {
    const made = await makePlates(job, controller.signal);
    update(id, { state: 'done', plates: made });
    for (const plate of made) void keep(plate);
    finish(id);
  } catch (error) {
    const isStopped = controller.signal.aborted;
    update(id, { state: isStopped ? 'stopped' : 'failed' });
    if (isStopped) announce('Stopped.');
    else fail(error);
  } finally {
    controllers.delete(id);
    handles.delete(id);
    update(id, { preview: undefined });
    if (openJobs.value.length === 0) endRecording();
  }
}

async function makePlates(job: Job, stop: AbortSignal): Promise<Plate[]> {
  const { id, settings: wanted, seed, pictures, name } = job;
  const started = performance.now();
  const client = await orStop(ensureLoaded(), stop);
  const loadMs = performance.now() - started;
  await beginRecording(client);
  const seeds = Array.from({ length: pictures }, (_, index) => seed + index);
  const handle = client.submit({
    name,
    prompt: wanted.prompt,
    numInferenceSteps: wanted.steps,
    guidanceScale: wanted.guidanceScale,
    width: wanted.width,
    height: wanted.height,
    seed: seeds,
    output: 'blob',
    previewEvery: 1,
    priority: jobs.value.find((other) => other.id === id)?.priority ?? 0,
    ...(wanted.guidanceScale > 1 && { negativePrompt: wanted.negativePrompt }),
    ...(wanted.sampler && { sampler: wanted.sampler }),
    signal: stop,
    onProgress: (progress) => follow(id, progress),
  });
  handles.set(id, handle);
  const { images, timings } = await handle.result;
  const { adapter, precision } = client.info;
  const model = choice.value;
  return images.map((blob, index) => ({
    id: `${Date.now()}-${id}-${seeds[index]}`,
    blob,
    url: URL.createObjectURL(blob),
    settings: wanted,
    seed: seeds[index]!,
    together: pictures,
    timings: { loadMs, ...timings, totalMs: performance.now() - started },
    model: nameOf(model),
    modelUrl: model.kind === 'url' ? model.url : undefined,
    adapter,
    precision,
    madeAt: Date.now(),
  }));
}

function follow(id: number, progress: ClientProgress): void {
  const preview = 'preview' in progress ? progress.preview : undefined;
  // A preview comes beside the step's own event, and does not know how long the rest takes.
  if (preview) update(id, { preview });
  else update(id, { progress });
  if (progress.stage === 'denoise' && progress.step === 0 && id === current.value?.id) {
    announce(`Denoising, ${progress.steps} steps.`);
  }
}

/** After a request's pictures are there. */
function finish(id: number): void {
  const job = jobs.value.find((other) => other.id === id)!;
  const isShown = shownId.value === id;
  const isFree = !isChosen && !current.value;
  if (isShown || isFree) showJob(job, isShown && isChosen);
  const [first] = job.plates;
  if (first && (isShown || isFree)) rememberInAddress(first);
  const seconds = (first!.timings.totalMs / 1000).toFixed(1);
  announce(
    `${job.pictures > 1 ? `${job.pictures} pictures` : 'The picture'} ready after ${seconds} seconds.`,
  );
}

function fail(error: unknown): void {
  const told = describeTrouble(error);
  trouble.value = told;
  // A model that failed to load has said so itself; one that still works, or that others wait for, is kept.
  if (!told.survives && modelState.value.is === 'ready' && openJobs.value.length === 0) dropClient();
}

function update(id: number, change: Partial<Job>): void {
  const before = jobs.value.find((job) => job.id === id);
  if (!before) {
    change.preview?.close();
    return;
  }
  jobs.value = jobs.value.map((job) => (job.id === id ? { ...job, ...change } : job));
  if ('preview' in change) before.preview?.close();
}

/** The list without the oldest of those that are settled. */
function listed(): readonly Job[] {
  const settled = jobs.value.filter(({ state }) => state !== 'open');
  const dropped = new Set(settled.slice(0, Math.max(0, settled.length - MOST_SETTLED)));
  return jobs.value.filter((job) => !dropped.has(job));
}

/** Loading goes on when a run that waited for it is stopped: the next one will need it. */
function orStop<T>(promise: Promise<T>, stop: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(stop.reason as Error);
    stop.addEventListener('abort', abort, { once: true });
    void promise.then(resolve, reject).finally(() => stop.removeEventListener('abort', abort));
  });
}
