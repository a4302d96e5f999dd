import type { JSX } from 'preact';
import { choice, modelState, nameOf } from '../state/model.ts';
import { currentTheme, toggleTheme } from '../state/theme.ts';
import { aboutOpen } from './about-dialog.tsx';
import { Icon } from './icons.tsx';
import { modelOpen } from './model-dialog.tsx';

/** Wordmark, model, theme, About. */
export function Header(): JSX.Element {
  const dark = currentTheme() === 'dark';
  return (
    <header class="bar">
      <p class="wordmark">
        Calotype <span class="tagline">pictures from words, developed on your own device</span>
      </p>
      <div class="bar-buttons">
        <button type="button" class="quiet model-button" onClick={() => (modelOpen.value = true)}>
          <span class={`dot ${modelState.value.is}`} aria-hidden="true" />
          <span class="hidden">Model: </span>
          <span class="model-name">{nameOf(choice.value)}</span>
          <span class="model-state">{stateWords()}</span>
          <Icon name="chevron" />
        </button>
        <button
          type="button"
          class="quiet square"
          aria-label={dark ? 'Switch to the light theme' : 'Switch to the dark theme'}
          title={dark ? 'Light theme' : 'Dark theme'}
          onClick={toggleTheme}
        >
          <Icon name={dark ? 'sun' : 'moon'} />
        </button>
        <button
          type="button"
          class="quiet square"
          aria-label="About Calotype and its model"
          title="About"
          onClick={() => (aboutOpen.value = true)}
        >
          <Icon name="info" />
        </button>
      </div>
    </header>
  );
}

function stateWords(): string {
  switch (modelState.value.is) {
    case 'waiting':
      return 'not loaded';
    case 'loading':
      return 'loading';
    case 'ready':
      return 'ready';
    case 'failed':
      return 'not usable';
  }
}
