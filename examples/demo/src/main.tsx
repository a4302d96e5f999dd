import '@fontsource/libre-caslon-text/latin-400.css';
import '@fontsource/libre-caslon-text/latin-400-italic.css';
import './styles/theme.css';
import './styles/controls.css';
import './styles/layout.css';
import './styles/stage.css';
import './styles/dialogs.css';
import { effect } from '@preact/signals';
import { render } from 'preact';
import { bundled, choiceOfUrl } from './models/choice.ts';
import { keepOffline } from './offline/register.ts';
import { fromHash } from './share.ts';
import { openHistory } from './state/history.ts';
import { chooseModel, modelState } from './state/model.ts';
import { fillForm } from './state/settings.ts';
import { App } from './ui/app.tsx';

function openSharedLink(): boolean {
  const shared = fromHash(location.hash);
  if (Object.keys(shared).length === 0) return false;
  fillForm(shared);
  chooseModel((shared.model && choiceOfUrl(shared.model)) || bundled);
  return true;
}

if (!openSharedLink()) chooseModel(bundled);
window.addEventListener('hashchange', openSharedLink);
render(<App />, document.querySelector('#app')!);
void openHistory();

// Kept for offline use once the model is there, so that the two do not compete for the connection.
const stopWaiting = effect(() => {
  if (modelState.value.is === 'ready' || modelState.value.is === 'failed') {
    queueMicrotask(() => stopWaiting());
    keepOffline();
  }
});
