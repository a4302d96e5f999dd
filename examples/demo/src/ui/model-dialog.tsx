import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { bundledModel } from 'virtual:bundled-model';
import { bundled, choiceOfUrl, type ModelChoice } from '../models/choice.ts';
import { choiceOfInput } from '../models/dropped-files.ts';
import { choice, chooseModel, facts, modelState, nameOf } from '../state/model.ts';
import { stopAll, trouble } from '../state/queue.ts';
import { Dialog } from './dialog.tsx';
import { duration, megabytes } from './format.ts';
import { Icon } from './icons.tsx';

export const modelOpen = signal(false);

const refused = signal('');

/** Takes a model and closes the dialog: what comes next is told on the stage. */
export function takeModel(next: ModelChoice): void {
  trouble.value = undefined;
  refused.value = '';
  modelOpen.value = false;
  stopAll();
  chooseModel(next);
}

/** What is loaded, and where another model may come from. */
export function ModelDialog(): JSX.Element {
  return (
    <Dialog open={modelOpen} id="model" title="Model">
      <Current />
      <FolderInput />
      <UrlInput />
      {refused.value && (
        <p class="note warn" role="alert">
          {refused.value}
        </p>
      )}
      {choice.value !== bundled && (
        <button type="button" class="quiet" onClick={() => takeModel(bundled)}>
          Back to {bundled.name} ({megabytes(bundledModel.bytes)})
        </button>
      )}
    </Dialog>
  );
}

function Current(): JSX.Element {
  const state = modelState.value;
  return (
    <section>
      <h3>{nameOf(choice.value)}</h3>
      {facts.value.description && <p>{facts.value.description}</p>}
      {facts.value.randomWeights && (
        <p>
          Its weights are random and were never trained, so its pictures are noise. It shows that all works.
        </p>
      )}
      {state.is === 'ready' && (
        <p class="hint">
          On {state.adapter}, {state.precision}; loaded in {duration(state.loadMs)}.
        </p>
      )}
      {state.is === 'loading' && <p class="hint">Loading.</p>}
      {state.is === 'waiting' && <p class="hint">It will be loaded with the first picture.</p>}
      {state.is === 'failed' && <p class="hint">{state.trouble.title}.</p>}
    </section>
  );
}

function FolderInput(): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  return (
    <section>
      <h3>Your own</h3>
      <p>
        A model folder in the diffusers ONNX layout: Stable Diffusion 1.x, 2.x, Turbo, XL or 3, FLUX and their
        kin. Drop it anywhere on this page, or
      </p>
      <button type="button" class="quiet outlined" onClick={() => input.current?.click()}>
        <Icon name="folder" /> Choose a folder
      </button>
      <input
        ref={input}
        class="hidden"
        type="file"
        id="model-folder"
        aria-label="Model folder"
        tabIndex={-1}
        {...{ webkitdirectory: true }}
        onChange={(event) => {
          const taken = event.currentTarget.files && choiceOfInput(event.currentTarget.files);
          event.currentTarget.value = '';
          if (taken) takeModel(taken);
        }}
      />
      <p class="hint">It stays on this device; nothing is uploaded.</p>
    </section>
  );
}

function UrlInput(): JSX.Element {
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const text = new FormData(event.currentTarget).get('url');
        const taken = typeof text === 'string' ? choiceOfUrl(text) : undefined;
        if (taken) takeModel(taken);
        else refused.value = 'That is no web address. It begins with https:// and names a folder.';
      }}
    >
      <label for="model-url">Or the address of its folder</label>
      <div class="joined">
        <input
          id="model-url"
          name="url"
          type="text"
          inputMode="url"
          autocomplete="off"
          placeholder="https://example.org/models/sd-turbo/"
        />
        <button type="submit" class="quiet outlined">
          Load
        </button>
      </div>
    </form>
  );
}
