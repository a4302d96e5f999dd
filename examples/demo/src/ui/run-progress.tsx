import type { JSX } from 'preact';
import { modelState } from '../state/model.ts';
import type { Job } from '../state/queue.ts';
import { describeJob, describeLoad, describeRemaining } from './job-words.ts';
import { Meter } from './meter.tsx';

/** What is being done, how far it is, and about how long it will take. */
export function RunProgress({ job }: { job: Job }): JSX.Element {
  const { label, fraction } = describeJob(job);
  return (
    <figcaption class="progress">
      <p class="caption-prompt">{job.settings.prompt}</p>
      <Meter label={label} fraction={fraction} />
      <p class="progress-line">
        <span>
          {label}
          {job.pictures > 1 && ` · ${job.pictures} pictures at once`}
        </span>
        <span>{describeRemaining(job)}</span>
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
      <Meter label={label} fraction={fraction} />
      <p class="progress-line">
        <span>{label}</span>
      </p>
    </figcaption>
  );
}
