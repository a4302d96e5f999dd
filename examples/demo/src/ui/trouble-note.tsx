import type { JSX } from 'preact';
import { bundled } from '../models/choice.ts';
import { choice, ensureLoaded, modelState } from '../state/model.ts';
import { develop, trouble as runTrouble } from '../state/queue.ts';
import { resetSettings, settings } from '../state/settings.ts';
import type { Trouble } from '../trouble.ts';
import { modelOpen, takeModel } from './model-dialog.tsx';

/** What went wrong, in words, and the ways on. */
export function TroubleNote({ trouble }: { trouble: Trouble }): JSX.Element {
  return (
    <div class="trouble" role="alert">
      <h2>{trouble.title}</h2>
      <p>{trouble.remedy}</p>
      <div class="actions">
        {trouble.way === 'settings' && (
          <button
            type="button"
            class="quiet outlined"
            onClick={() => {
              resetSettings();
              runTrouble.value = undefined;
              focusPrompt();
            }}
          >
            Reset the settings
          </button>
        )}
        {trouble.way !== 'settings' && (
          <button type="button" class="quiet outlined" onClick={tryAgain}>
            {trouble.way === 'browser' ? 'Check again' : 'Try again'}
          </button>
        )}
        {trouble.way === 'model' && (
          <button type="button" class="quiet outlined" onClick={() => (modelOpen.value = true)}>
            Choose another model
          </button>
        )}
        {choice.value !== bundled && (
          <button
            type="button"
            class="quiet outlined"
            onClick={() => {
              takeModel(bundled);
              focusPrompt();
            }}
          >
            Back to {bundled.name}
          </button>
        )}
      </div>
      <details>
        <summary>Details</summary>
        <p class="detail">{trouble.detail}</p>
      </details>
    </div>
  );
}

function tryAgain(): void {
  const hadRun = runTrouble.value !== undefined;
  runTrouble.value = undefined;
  if (hadRun && settings.value.prompt) develop();
  else if (modelState.value.is !== 'ready') ensureLoaded().catch(() => {});
  focusPrompt();
}

/** The button that was pressed goes away with its note. */
function focusPrompt(): void {
  document.querySelector<HTMLElement>('#prompt')?.focus({ preventScroll: true });
}
