import { signal } from '@preact/signals';
import { TextToImageClient, type LoadProgress } from 'calotype';
import { Desk } from '../desk/desk.ts';
import type { ModelFacts } from '../desk/facts.ts';
import { bundled, isOwn, manifestOf, sourceOf, type ModelChoice } from '../models/choice.ts';
import { describeTrouble, type Trouble } from '../trouble.ts';
import { announce } from './announce.ts';

/** How far the model is. */
export type ModelState =
  | { is: 'waiting' }
  | { is: 'loading'; progress: LoadProgress | undefined }
  | { is: 'ready'; adapter: string; precision: string; loadMs: number }
  | { is: 'failed'; trouble: Trouble };

const unknownFacts: ModelFacts = {
  name: undefined,
  description: undefined,
  randomWeights: false,
  defaults: { steps: 25, guidanceScale: 7.5, width: 512, height: 512 },
  sizes: [[512, 512]],
  ownSampler: undefined,
  examples: [],
  suggestions: {},
  templates: [],
};

export const choice = signal<ModelChoice>(bundled);
export const modelState = signal<ModelState>({ is: 'waiting' });
export const facts = signal<ModelFacts>(factsBefore(bundled));

/** Samplers that fit the loaded model; undefined until they were asked for. */
export const samplers = signal<readonly string[] | undefined>(undefined);

const desk = new Desk();
let client: Promise<TextToImageClient> | undefined;
let loading: AbortController | undefined;
let opened: Promise<void> = Promise.resolve();

/** The words of a prompt as the model reads them. */
export async function readPrompt(prompt: string): ReturnType<Desk['read']> {
  await opened;
  return desk.read(prompt);
}

/** Takes another model. It is loaded at once if it is here already, else with the first picture. */
export function chooseModel(next: ModelChoice): void {
  dropClient();
  choice.value = next;
  facts.value = factsBefore(next);
  opened = desk.open(sourceOf(next), manifestOf(next), next.kind === 'bundled').then(
    (read) => {
      if (choice.value === next) facts.value = read;
    },
    // Loading meets the same fault and tells of it.
    () => {},
  );
  if (isOwn(next)) ensureLoaded().catch(() => {});
}

/** The loaded model; loads it where that was not done, or failed. */
export function ensureLoaded(): Promise<TextToImageClient> {
  client ??= load(choice.value);
  return client;
}

/** Finds the samplers that fit the model, when it is loaded. Whoever never looks at them fetches no code of theirs. */
export async function findSamplers(): Promise<void> {
  if (samplers.value) return;
  const loaded = client;
  const names = await (await loaded)?.samplerNames();
  if (loaded === client) samplers.value = names;
}

/** Forgets a client that no longer works. The next picture loads the model again. */
export function dropClient(): void {
  const old = client;
  client = undefined;
  samplers.value = undefined;
  loading?.abort();
  modelState.value = { is: 'waiting' };
  old?.then(
    (loaded) => loaded.dispose(),
    () => {},
  );
}

async function load(wanted: ModelChoice): Promise<TextToImageClient> {
  const controller = new AbortController();
  const { signal } = controller;
  loading = controller;
  const started = performance.now();
  modelState.value = { is: 'loading', progress: undefined };
  try {
    const loaded = await TextToImageClient.fromPretrained(sourceOf(wanted), {
      signal,
      // The service worker keeps it with the page; once is enough.
      cache: wanted.kind !== 'bundled',
      onProgress: (progress) => (modelState.value = { is: 'loading', progress }),
    });
    const { adapter, precision } = loaded.info;
    const loadMs = performance.now() - started;
    modelState.value = { is: 'ready', adapter, precision, loadMs };
    announce(`${nameOf(wanted)} is ready.`);
    return loaded;
  } catch (error) {
    // Aborted, another model is on its way by now.
    if (!signal.aborted) {
      client = undefined;
      modelState.value = { is: 'failed', trouble: describeTrouble(error) };
    }
    throw error;
  }
}

/** What a model is called on the page. */
export function nameOf(which: ModelChoice): string {
  return which === choice.value ? (facts.value.name ?? which.name) : which.name;
}

function factsBefore(which: ModelChoice): ModelFacts {
  const { name, description, randomWeights, defaults, examples, suggestions, templates } = manifestOf(which);
  return {
    ...unknownFacts,
    name,
    description,
    randomWeights: randomWeights ?? false,
    defaults: { ...unknownFacts.defaults, ...defaults },
    examples: examples ?? [],
    suggestions: suggestions ?? {},
    templates: templates ?? [],
  };
}
