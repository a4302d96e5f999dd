import { effect } from '@preact/signals';
import { h, render } from 'preact';
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
render(h(App, null), document.querySelector('#app')!);
void openHistory();

// Kept for offline use once the model is there, so that the two do not compete for the connection.
const stopWaiting = effect(() => {
  if (modelState.value.is === 'ready' || modelState.value.is === 'failed') {
    queueMicrotask(() => stopWaiting());
    keepOffline();
  }
});
