import { computed, effect, signal, type ReadonlySignal } from '@preact/signals';
import type { Shared } from '../share.ts';
import { facts, findSamplers, modelState, samplers } from './model.ts';

/** One picture's worth of settings, complete. */
export interface Settings {
  prompt: string;
  negativePrompt: string;
  steps: number;
  guidanceScale: number;
  width: number;
  height: number;
  /** Empty for the model's own. */
  sampler: string;
}

/** The form. Undefined fields follow the model. */
export const form = {
  prompt: signal(''),
  negativePrompt: signal(''),
  steps: signal<number | undefined>(undefined),
  guidanceScale: signal<number | undefined>(undefined),
  size: signal<readonly [width: number, height: number] | undefined>(undefined),
  sampler: signal(''),
  /** Undefined for a new one every time. */
  seed: signal<number | undefined>(undefined),
  count: signal(1),
};

/** Whether the settings beside the prompt are open. */
export const settingsShown = signal(false);

// A sampler that came with a link or with the model before has to be checked as well.
effect(() => {
  const wanted = settingsShown.value || form.sampler.value !== '';
  // Without names the model's own stays to be chosen; what is wrong with the model is told elsewhere.
  if (modelState.value.is === 'ready' && wanted) findSamplers().catch(() => {});
});

/** Longest side that the form takes; above it the memory of any visitor's GPU is in doubt. */
export const MAX_SIDE = 2048;

/** What a picture would be made with now. */
export const settings: ReadonlySignal<Settings> = computed(() => {
  const { defaults } = facts.value;
  const [width, height] = form.size.value ?? [defaults.width, defaults.height];
  const steps = form.steps.value ?? defaults.steps;
  return {
    prompt: form.prompt.value.trim(),
    negativePrompt: form.negativePrompt.value.trim(),
    steps: Math.min(150, Math.max(1, Math.round(steps))),
    guidanceScale: Math.max(0, form.guidanceScale.value ?? defaults.guidanceScale),
    width,
    height,
    sampler: !samplers.value || samplers.value.includes(form.sampler.value) ? form.sampler.value : '',
  };
});

/** Whether any setting beside the prompt differs from the model's. */
export const isCustom: ReadonlySignal<boolean> = computed(
  () =>
    form.negativePrompt.value !== '' ||
    form.steps.value !== undefined ||
    form.guidanceScale.value !== undefined ||
    form.size.value !== undefined ||
    form.sampler.value !== '' ||
    form.seed.value !== undefined ||
    form.count.value !== 1,
);

/** Back to what the model asks for; the prompt stays. */
export function resetSettings(): void {
  form.negativePrompt.value = '';
  form.steps.value = undefined;
  form.guidanceScale.value = undefined;
  form.size.value = undefined;
  form.sampler.value = '';
  form.seed.value = undefined;
  form.count.value = 1;
}

/** Fills the form from a shared link or an earlier picture. */
export function fillForm(shared: Shared): void {
  form.prompt.value = shared.prompt ?? '';
  form.negativePrompt.value = shared.negativePrompt ?? '';
  form.steps.value = shared.steps;
  form.guidanceScale.value = shared.guidanceScale;
  form.size.value =
    shared.width && shared.height && Math.max(shared.width, shared.height) <= MAX_SIDE
      ? [shared.width, shared.height]
      : undefined;
  form.sampler.value = shared.sampler ?? '';
  form.seed.value = shared.seed;
  form.count.value = 1;
}
