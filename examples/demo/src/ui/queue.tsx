import type { JSX } from 'preact';
import {
  clearSettled,
  current,
  jobs,
  moveJob,
  openJobs,
  plates,
  showJob,
  stopAll,
  stopJob,
  type Job,
} from '../state/queue.ts';
import { Icon } from './icons.tsx';
import { describeJob, describeRemaining, exposureOf } from './job-words.ts';
import { Meter } from './meter.tsx';
import { Preview } from './preview.tsx';

/** Everything that was asked for: what is being made, in the order of turns, and what was made last. */
export function Queue(): JSX.Element | null {
  const open = openJobs.value;
  const settled = jobs.value.filter(({ state }) => state !== 'open').toReversed();
  if (open.length + settled.length === 0) return null;
  return (
    <section class="queue" aria-labelledby="queue-title">
      <div class="section-head">
        <h2 id="queue-title">Queue</h2>
        <p class="hint">{open.length > 0 ? `${open.length} under way` : 'Nothing under way'}</p>
        {open.length > 1 && (
          <button type="button" class="quiet" onClick={stopAll}>
            Stop all
          </button>
        )}
        {open.length === 0 && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              clearSettled();
              document.querySelector<HTMLElement>('#prompt')?.focus({ preventScroll: true });
            }}
          >
            Clear
          </button>
        )}
      </div>
      <ol>
        {[...open, ...settled].map((job, place) => (
          <Row key={job.id} job={job} place={place} open={open.length} />
        ))}
      </ol>
    </section>
  );
}

function Row({ job, place, open }: { job: Job; place: number; open: number }): JSX.Element {
  const { label, fraction } = describeJob(job);
  const { prompt } = job.settings;
  const isOpen = job.state === 'open';
  const [first] = job.plates;
  const isShown = current.value?.id === job.id || (first !== undefined && plates.value.includes(first));
  const words = job.pictures > 1 ? `${label} · ${job.pictures} pictures` : label;
  return (
    <li class={`job ${job.state}`}>
      <button
        type="button"
        class="job-main"
        disabled={!isOpen && !first}
        aria-current={isShown}
        onClick={() => showJob(job)}
      >
        <span class="thumb" aria-hidden="true">
          {first ? (
            <img src={first.url} alt="" />
          ) : (
            <>
              <span class="silver" style={{ opacity: exposureOf(job) }} />
              <Preview image={job.preview} />
            </>
          )}
        </span>
        <span class="job-words">
          <span class="job-prompt">{prompt}</span>
          <span class="job-state">
            {words}
            {describeRemaining(job) && `, ${describeRemaining(job)}`}
          </span>
        </span>
      </button>
      {isOpen && (
        <div class="job-buttons">
          {open > 1 && (
            <>
              <button
                type="button"
                class="quiet square"
                aria-label={`Earlier: ${prompt}`}
                title="Earlier"
                disabled={place === 0}
                onClick={() => moveJob(job.id, -1)}
              >
                <Icon name="up" />
              </button>
              <button
                type="button"
                class="quiet square"
                aria-label={`Later: ${prompt}`}
                title="Later"
                disabled={place === open - 1}
                onClick={() => moveJob(job.id, 1)}
              >
                <Icon name="chevron" />
              </button>
            </>
          )}
          <button
            type="button"
            class="quiet square"
            aria-label={`Cancel: ${prompt}`}
            title="Cancel"
            onClick={() => {
              stopJob(job.id);
              // This button goes away.
              document.querySelector<HTMLElement>('#prompt')?.focus({ preventScroll: true });
            }}
          >
            <Icon name="close" />
          </button>
        </div>
      )}
      {isOpen && <Meter label={`${prompt}: ${label}`} fraction={fraction} />}
    </li>
  );
}
