import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { announce } from '../state/announce.ts';
import { forget, history } from '../state/history.ts';
import { altText } from '../state/plate.ts';
import { plates, showPlate } from '../state/queue.ts';

const asking = signal(false);

/** Earlier pictures as a contact sheet; kept in this browser. */
export function HistoryStrip(): JSX.Element | null {
  const kept = history.value;
  if (kept.length === 0) return null;
  const shown = new Set(plates.value.map(({ id }) => id));
  return (
    <section class="history" aria-labelledby="history-title">
      <div class="section-head">
        <h2 id="history-title">History</h2>
        <p class="hint">
          {kept.length === 1 ? 'One picture' : `${kept.length} pictures`}, kept in this browser
        </p>
        <button
          type="button"
          class="quiet"
          onBlur={() => (asking.value = false)}
          onClick={() => {
            if (!asking.value) {
              asking.value = true;
              announce('Press again to delete every picture.');
              return;
            }
            asking.value = false;
            void forget(kept);
            announce('History cleared.');
            document.querySelector<HTMLElement>('#prompt')?.focus();
          }}
        >
          {asking.value ? 'Delete every picture?' : 'Clear'}
        </button>
      </div>
      <ul class="contact-sheet">
        {kept.map((plate) => (
          <li key={plate.id}>
            <button
              type="button"
              aria-current={shown.has(plate.id)}
              title={plate.settings.prompt}
              onClick={() => {
                showPlate(plate);
                document.querySelector('.stage')?.scrollIntoView({ block: 'nearest' });
                announce(altText(plate));
              }}
            >
              <img src={plate.url} alt={altText(plate)} loading="lazy" />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
