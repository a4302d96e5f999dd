import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Reading } from '../desk/service.ts';
import { examplePrompts } from '../examples.ts';
import { announce } from '../state/announce.ts';
import { choice, facts, readPrompt } from '../state/model.ts';
import { develop, run, stopRun } from '../state/run.ts';
import { form } from '../state/settings.ts';
import { Icon } from './icons.tsx';

const reading = signal<Reading>({ unknown: [], cut: undefined });
const missing = signal(false);

/** The prompt, what the model makes of its words, examples, and the button. */
export function Compose(): JSX.Element {
  const field = useRef<HTMLTextAreaElement>(null);
  const prompt = form.prompt.value;
  const running = run.value !== undefined;

  // Not the autofocus attribute: a dialog or a screen reader's own position would lose to it on later renders.
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  useReading(prompt);

  const start = (): void => {
    missing.value = !form.prompt.value.trim();
    if (missing.value) {
      announce('Type what the picture should show.');
      field.current?.focus();
      return;
    }
    // On a phone the keyboard would cover the picture.
    if (matchMedia('(pointer: coarse)').matches) {
      field.current?.blur();
      document.querySelector('.mount')?.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    }
    void develop();
  };

  return (
    <form
      class="compose"
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      <label for="prompt">What should the picture show?</label>
      <div class="prompt-box">
        <textarea
          id="prompt"
          ref={field}
          rows={2}
          maxLength={2000}
          enterkeyhint="go"
          autocomplete="off"
          spellcheck={false}
          placeholder={examples()[0] ?? ''}
          value={prompt}
          aria-describedby="prompt-notes"
          aria-invalid={missing.value}
          onInput={(event) => {
            form.prompt.value = event.currentTarget.value;
            missing.value = false;
          }}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            if (!running) start();
          }}
        />
      </div>
      <div id="prompt-notes" class="notes" aria-live="polite">
        {missing.value && <p class="note warn">Type what the picture should show, or pick an example.</p>}
        <Notes />
      </div>
      <ul class="chips" aria-label="Example prompts">
        {examples().map((example) => (
          <li key={example}>
            <button
              type="button"
              class="chip"
              aria-pressed={prompt === example}
              onClick={() => {
                form.prompt.value = example;
                missing.value = false;
                field.current?.focus();
              }}
            >
              {example}
            </button>
          </li>
        ))}
      </ul>
      {/* One button, so that focus stays where it was when a run starts or ends. */}
      <button
        type={running ? 'button' : 'submit'}
        class={running ? 'primary stop' : 'primary'}
        onClick={(event) => {
          if (!running) return;
          event.preventDefault();
          // The second half of a double click is no wish to stop.
          if (event.detail < 2) stopRun();
        }}
      >
        {running ? (
          <>
            <Icon name="stop" /> Stop <kbd>Esc</kbd>
          </>
        ) : (
          <>
            Develop <kbd>Enter</kbd>
          </>
        )}
      </button>
    </form>
  );
}

function Notes(): JSX.Element | null {
  const { unknown, cut } = reading.value;
  if (unknown.length === 0 && !cut) return null;
  return (
    <>
      {unknown.length > 0 && (
        <p class="note">
          Not in the model’s vocabulary:{' '}
          {unknown.map((word, i) => (
            <>
              {i > 0 && ', '}
              <mark>{word}</mark>
            </>
          ))}
          . It may guess, or leave {unknown.length > 1 ? 'them' : 'it'} out.
        </p>
      )}
      {cut && (
        <p class="note">
          Too long for the model; it will not read <mark>{cut}</mark>.
        </p>
      )}
    </>
  );
}

function examples(): readonly string[] {
  return facts.value.examples.length > 0 ? facts.value.examples : examplePrompts;
}

/** Reads the prompt a moment after the last key. */
function useReading(prompt: string): void {
  const model = choice.value;
  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      readPrompt(prompt).then(
        (read) => {
          if (current) reading.value = read;
        },
        // A tokenizer that cannot be read is told of when the model loads.
        () => {},
      );
    }, 300);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [prompt, model]);
}
