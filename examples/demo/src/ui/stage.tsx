import type { JSX } from 'preact';
import { choice, facts, modelState } from '../state/model.ts';
import { altText, type Plate } from '../state/plate.ts';
import { plates, run, selected, trouble } from '../state/run.ts';
import { form, settings } from '../state/settings.ts';
import { Coat } from './coat.tsx';
import { PlateCaption } from './plate-caption.tsx';
import { Preview } from './preview.tsx';
import { RunProgress, LoadNote } from './run-progress.tsx';
import { TroubleNote } from './trouble-note.tsx';

/** Where pictures appear: the mount, what is under it, and what went wrong. */
export function Stage(): JSX.Element {
  const current = run.value;
  const shown = plates.value;
  const failed = trouble.value ?? (modelState.value.is === 'failed' ? modelState.value.trouble : undefined);
  const plate = shown.find(({ id }) => id === selected.value);
  const [width, height] = frameSize(plate);
  const slots = current ? current.pictures : Math.max(1, shown.length);
  return (
    <section class="stage" aria-label="Picture" aria-busy={current !== undefined}>
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
              plate={shown[index]}
              many={slots > 1}
            />
          ))}
        </div>
        {!current && plate && <PlateCaption plate={plate} />}
        {current && <RunProgress run={current} />}
        {!current && !plate && <LoadNote />}
      </figure>
    </section>
  );
}

/** The stage keeps the shape of what it shows, or will show. */
function frameSize(plate: Plate | undefined): [number, number] {
  const { width, height } = run.value?.settings ?? plate?.settings ?? settings.value;
  return [width, height];
}

interface SlotProps {
  index: number;
  plate: Plate | undefined;
  many: boolean;
}

function Slot({ index, plate, many }: SlotProps): JSX.Element {
  const current = run.value;
  if (!plate) {
    const isNext = current ? current.picture === index + 1 : false;
    return (
      <div class="plate" key="latent">
        <Coat exposure={isNext ? exposure() : 0} />
        {isNext && <Preview />}
        {!current && <p class="invitation">{form.prompt.value.trim() || 'Nothing exposed yet'}</p>}
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

/** How much of the picture that is being made is there, 0 to 1. */
function exposure(): number {
  const progress = run.value?.progress;
  if (!progress) return 0;
  switch (progress.stage) {
    case 'queued':
    case 'restarted':
      return 0;
    case 'encode':
      return 0.08;
    case 'denoise':
      return 0.1 + (0.8 * progress.step) / Math.max(1, progress.steps);
    case 'decode':
      return 0.95;
  }
}
