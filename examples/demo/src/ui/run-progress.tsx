import type { LoadProgress } from 'calotype';
import type { JSX } from 'preact';
import { modelState, nameOf, choice } from '../state/model.ts';
import type { Run } from '../state/run.ts';
import { duration } from './format.ts';

const components: Record<string, string> = {
  text_encoder: 'text encoder',
  unet: 'denoiser',
  vae_decoder: 'decoder',
};

/** What is being done, how far it is, and about how long it will take. */
export function RunProgress({ run }: { run: Run }): JSX.Element {
  const { label, fraction } = describe(run);
  return (
    <figcaption class="progress">
      <p class="caption-prompt">{run.settings.prompt}</p>
      <Bar label={label} fraction={fraction} />
      <p class="progress-line">
        <span>
          {label}
          {run.pictures > 1 && ` · picture ${run.picture} of ${run.pictures}`}
        </span>
        <span>{remaining(run)}</span>
      </p>
    </figcaption>
  );
}

/** Under an empty mount: how far the model is. */
export function LoadNote(): JSX.Element | null {
  const state = modelState.value;
  if (state.is !== 'loading') return null;
  const { label, fraction } = describeLoad(state.progress);
  return (
    <figcaption class="progress">
      <Bar label={label} fraction={fraction} />
      <p class="progress-line">
        <span>{label}</span>
      </p>
    </figcaption>
  );
}

function Bar({ label, fraction }: { label: string; fraction: number | undefined }): JSX.Element {
  const percent = fraction === undefined ? undefined : Math.round(fraction * 100);
  return (
    <div
      class={percent === undefined ? 'meter unsure' : 'meter'}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(percent !== undefined && { 'aria-valuenow': percent })}
    >
      <div style={{ transform: `scaleX(${(percent ?? 100) / 100})` }} />
    </div>
  );
}

interface Described {
  label: string;
  /** Undefined where it cannot be told. */
  fraction?: number | undefined;
}

function describe(run: Run): Described {
  const { progress } = run;
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
      return { label: 'Decoding the picture', fraction: 1 };
  }
}

function describeLoad(progress: LoadProgress | undefined): Described {
  const name = nameOf(choice.value);
  if (!progress) return { label: `Loading ${name}` };
  const component = components[progress.component] ?? progress.component;
  const what = progress.stage === 'compile' ? 'compiling the' : 'reading the';
  return {
    label: `Loading ${name}: ${what} ${component}`,
    fraction: progress.total > 0 ? Math.min(1, progress.done / progress.total) : undefined,
  };
}

function remaining({ progress, denoisingSince }: Run): string {
  if (progress?.stage !== 'denoise' || !denoisingSince || progress.step === 0) return '';
  const perStep = (performance.now() - denoisingSince) / progress.step;
  const left = perStep * (progress.steps - progress.step);
  return left < 1500 ? '' : `about ${duration(left)} left`;
}
