import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { announcement } from '../state/announce.ts';
import { openJobs, stopCurrent } from '../state/queue.ts';
import { AboutDialog } from './about-dialog.tsx';
import { Compose } from './compose.tsx';
import { DropZone } from './drop-zone.tsx';
import { Header } from './header.tsx';
import { HistoryStrip } from './history-strip.tsx';
import { ModelDialog } from './model-dialog.tsx';
import { Queue } from './queue.tsx';
import { SettingsPanel } from './settings-panel.tsx';
import { Stage } from './stage.tsx';
import { Timeline } from './timeline.tsx';

/** The page. */
export function App(): JSX.Element {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && openJobs.value.length > 0 && !document.querySelector('dialog[open]')) {
        stopCurrent();
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  return (
    <>
      <Header />
      <main>
        <h1 class="hidden">Make a picture from words</h1>
        <Compose />
        <Stage />
        <Queue />
        <SettingsPanel />
        <Timeline />
        <HistoryStrip />
      </main>
      <footer>Everything runs on this device. Your words and pictures are not sent anywhere.</footer>
      <ModelDialog />
      <AboutDialog />
      <DropZone />
      <div class="hidden" role="status" aria-live="polite">
        {announcement}
      </div>
    </>
  );
}
