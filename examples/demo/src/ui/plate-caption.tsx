import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { announce } from '../state/announce.ts';
import { forget, history } from '../state/history.ts';
import { choice, chooseModel } from '../state/model.ts';
import { choiceOfUrl } from '../models/choice.ts';
import { fileName, linkTo, type Plate } from '../state/plate.ts';
import { develop, plates, selected, stopAll } from '../state/queue.ts';
import { fillForm, form } from '../state/settings.ts';
import { Icon } from './icons.tsx';
import { samplerLabel } from './format.ts';
import { Timings } from './timings.tsx';

/** Which button has just done its work. */
const done = signal('');

/** Under a picture: what it is, what can be done with it, how long it took. */
export function PlateCaption({ plate }: { plate: Plate }): JSX.Element {
  const { settings, seed } = plate;
  return (
    <figcaption>
      <p class="caption-prompt">{settings.prompt}</p>
      <p class="caption-facts">
        {plate.model}, {settings.width} × {settings.height}, {settings.steps}{' '}
        {settings.steps === 1 ? 'step' : 'steps'}
        {settings.sampler && `, ${samplerLabel(settings.sampler)}`}
        {settings.guidanceScale > 1 && `, guidance ${settings.guidanceScale}`}, seed{' '}
        <span class="seed">{seed}</span>
      </p>
      <div class="actions">
        <a class="quiet" href={plate.url} download={fileName(plate)}>
          <Icon name="download" /> Download
        </a>
        <Action name="copy" said="Picture copied." work={() => copyPicture(plate)}>
          <Icon name="copy" /> Copy
        </Action>
        <Action name="link" said="Link copied." work={() => share(plate)}>
          <Icon name="link" /> Link
        </Action>
        <button type="button" class="quiet" onClick={() => replay(plate)}>
          <Icon name="replay" /> Replay
        </button>
        {history.value.some(({ id }) => id === plate.id) && (
          <button
            type="button"
            class="quiet square"
            aria-label="Delete from history"
            title="Delete from history"
            onClick={() => remove(plate)}
          >
            <Icon name="trash" />
          </button>
        )}
      </div>
      <Timings plate={plate} />
    </figcaption>
  );
}

interface ActionProps {
  name: string;
  said: string;
  work: () => Promise<unknown>;
  children: ComponentChildren;
}

/** A button that says for a moment that it has done its work, or why not. */
function Action({ name, said, work, children }: ActionProps): JSX.Element {
  const tell = (outcome: string, words: string): void => {
    done.value = outcome;
    announce(words);
    setTimeout(() => {
      if (done.value === outcome) done.value = '';
    }, 2000);
  };
  return (
    <button
      type="button"
      class="quiet"
      onClick={() =>
        void work().then(
          () => tell(name, said),
          (error: unknown) => {
            // Closing the system's share sheet is no failure.
            if (error instanceof DOMException && error.name === 'AbortError') return;
            tell(`${name}-failed`, 'The browser did not allow it.');
          },
        )
      }
    >
      {done.value === name ? 'Copied' : done.value === `${name}-failed` ? 'Not allowed' : children}
    </button>
  );
}

async function copyPicture({ blob }: Plate): Promise<void> {
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
}

async function share(plate: Plate): Promise<void> {
  await navigator.clipboard.writeText(linkTo(plate));
}

/** Makes the same picture again, which also puts its settings into the form. */
function replay(plate: Plate): void {
  fillForm({ ...plate.settings, seed: plate.seed });
  const wanted = plate.modelUrl === undefined ? undefined : choiceOfUrl(plate.modelUrl);
  if (wanted?.kind === 'url' && !(choice.value.kind === 'url' && choice.value.url === wanted.url)) {
    stopAll();
    chooseModel(wanted);
  }
  develop();
}

function remove(plate: Plate): void {
  void forget([plate]);
  plates.value = plates.value.filter(({ id }) => id !== plate.id);
  selected.value = plates.value[0]?.id;
  announce('Picture deleted.');
  // The button that had focus is gone.
  document.querySelector<HTMLElement>('#prompt')?.focus({ preventScroll: true });
  if (plates.value.length === 0) form.count.value = 1;
}
