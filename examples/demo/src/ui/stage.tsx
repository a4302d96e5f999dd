import type { JSX } from 'preact';
import { choice, facts, modelState } from '../state/model.ts';
import { altText, type Plate } from '../state/plate.ts';
import { current, plates, selected, trouble, type Job } from '../state/queue.ts';
import { form, settings } from '../state/settings.ts';
import { Coat } from './coat.tsx';
import { exposureOf } from './job-words.ts';
import { PlateCaption } from './plate-caption.tsx';
import { Preview } from './preview.tsx';
import { RunProgress, LoadNote } from './run-progress.tsx';
import { TroubleNote } from './trouble-note.tsx';

/** Where pictures appear: the mount, what is under it, and what went wrong. */
export function Stage(): JSX.Element {
  const job = current.value;
  const shown = plates.value;
  const failed = trouble.value ?? (modelState.value.is === 'failed' ? modelState.value.trouble : undefined);
  const plate = shown.find(({ id }) => id === selected.value);
  const [width, height] = frameSize(job, plate);
  const slots = job ? job.pictures : Math.max(1, shown.length);
  return (
    <section class="stage" aria-label="Picture" aria-busy={job !== undefined}>
      {failed && <TroubleNote trouble={failed} />}
      {facts.value.randomWeights && choice.value.kind === 'bundled' && (
        <p class="stand-in">
          This is a stand-in model with random weights: it shows that everything works, but its pictures are
          noise.
        </p>
      )}
      <figure class="mount" style={{ '--ratio': `${width / height}` }}>
        <div class={`plates of-${slots}`}>
          {Array.from({ length: slots }, (_, index) => (
            <Slot
              key={shown[index]?.id ?? `slot-${index}`}
              index={index}
              job={job}
              plate={shown[index]}
              many={slots > 1}
            />
          ))}
        </div>
        {!job && plate && <PlateCaption plate={plate} />}
        {job && <RunProgress job={job} />}
        {!job && !plate && <LoadNote />}
      </figure>
    </section>
  );
}

/** The stage keeps the shape of what it shows, or will show. */
function frameSize(job: Job | undefined, plate: Plate | undefined): [number, number] {
  const { width, height } = job?.settings ?? plate?.settings ?? settings.value;
  return [width, height];
}

interface SlotProps {
  index: number;
  job: Job | undefined;
  plate: Plate | undefined;
  many: boolean;
}

function Slot({ index, job, plate, many }: SlotProps): JSX.Element {
  if (!plate) {
    return (
      <div class="plate" key="latent">
        <Coat exposure={job ? exposureOf(job) : 0} />
        {index === 0 && <Preview image={job?.preview} />}
        {!job && <p class="invitation">{form.prompt.value.trim() || 'Nothing exposed yet'}</p>}
      </div>
    );
  }
  const picture = (
    <img src={plate.url} alt={altText(plate)} width={plate.settings.width} height={plate.settings.height} />
  );
  if (!many) return <div class="plate printed">{picture}</div>;
  return (
    <button
      type="button"
      class="plate printed"
      aria-pressed={selected.value === plate.id}
      aria-label={`Picture ${index + 1}, seed ${plate.seed}`}
      onClick={() => (selected.value = plate.id)}
    >
      {picture}
    </button>
  );
}
