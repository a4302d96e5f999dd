import type { LoadProgress } from 'calotype';
import { choice, modelState, nameOf } from '../state/model.ts';
import type { Job } from '../state/queue.ts';
import { duration } from './format.ts';

const components: Record<string, string> = {
  text_encoder: 'text encoder',
  unet: 'denoiser',
  transformer: 'denoiser',
  vae_decoder: 'decoder',
};

export interface Described {
  label: string;
  /** How much is done, 0 to 1. Undefined where it cannot be told. */
  fraction?: number | undefined;
}

/** What is being done for a request, and how far that is. */
export function describeJob({ state, progress, pictures }: Job): Described {
  if (state === 'stopped') return { label: 'Stopped' };
  if (state === 'failed') return { label: 'Failed' };
  if (state === 'done') return { label: 'Done', fraction: 1 };
  if (!progress) {
    return describeLoad(modelState.value.is === 'loading' ? modelState.value.progress : undefined);
  }
  switch (progress.stage) {
    case 'queued':
      return { label: progress.position > 1 ? `Waiting, ${progress.position} in the queue` : 'Waiting' };
    case 'restarted':
      return { label: 'Starting again after a loss' };
    case 'encode':
      return { label: 'Reading the prompt' };
    case 'denoise':
      return {
        label: `Denoising, step ${Math.min(progress.step + 1, progress.steps)} of ${progress.steps}`,
        fraction: progress.step / Math.max(1, progress.steps),
      };
    case 'decode':
      return { label: pictures > 1 ? 'Decoding the pictures' : 'Decoding the picture', fraction: 1 };
  }
}

/** What is being done of the model's loading. */
export function describeLoad(progress: LoadProgress | undefined): Described {
  const name = nameOf(choice.value);
  if (!progress) return { label: `Loading ${name}` };
  const component = components[progress.component] ?? progress.component.replaceAll('_', ' ');
  const what = progress.stage === 'compile' ? 'compiling the' : 'reading the';
  return {
    label: `Loading ${name}: ${what} ${component}`,
    fraction: progress.total > 0 ? Math.min(1, progress.done / progress.total) : undefined,
  };
}

/** The time that is left, in words; empty where that is not known, or not worth a word. */
export function describeRemaining({ state, progress }: Job): string {
  const left = state === 'open' && progress && 'remainingMs' in progress ? progress.remainingMs : undefined;
  if (left === undefined || left < 1500) return '';
  // It is a guess: seconds of minutes would pretend to know more.
  return `about ${left < 60_000 ? duration(left) : `${Math.round(left / 60_000)} min`} left`;
}

/** How much of the picture is there, 0 to 1. */
export function exposureOf({ progress }: Job): number {
  switch (progress?.stage) {
    case 'encode':
      return 0.08;
    case 'denoise':
      return 0.1 + (0.8 * progress.step) / Math.max(1, progress.steps);
    case 'decode':
      return 0.95;
    default:
      return 0;
  }
}
