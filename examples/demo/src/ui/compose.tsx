import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Reading } from '../desk/service.ts';
import { examplePrompts } from '../examples.ts';
import { announce } from '../state/announce.ts';
import { choice, facts, readPrompt } from '../state/model.ts';
import { develop, openJobs, stopCurrent } from '../state/queue.ts';
import { form } from '../state/settings.ts';
import { surprise } from '../state/surprise.ts';
import { Icon } from './icons.tsx';

const reading = signal<Reading>({ unknown: [], cut: undefined });
const missing = signal(false);

/** The prompt, what the model makes of its words, examples, and the button. */
export function Compose(): JSX.Element {
  const field = useRef<HTMLTextAreaElement>(null);
  const prompt = form.prompt.value;
  const busy = openJobs.value.length > 0;

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
    develop();
  };
  const take = (text: string): void => {
    form.prompt.value = text;
    missing.value = false;
    field.current?.focus();
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
            if (!event.repeat) start();
          }}
        />
      </div>
      <div id="prompt-notes" class="notes" aria-live="polite">
        {missing.value && <p class="note warn">Type what the picture should show, or pick an example.</p>}
        <Notes replace={(word, by) => take(replaceWord(form.prompt.value, word, by))} />
      </div>
      <ul class="chips" aria-label="Example prompts">
        {examples().map((example) => (
          <li key={example}>
            <button
              type="button"
              class="chip"
              aria-pressed={prompt === example}
              onClick={() => take(example)}
            >
              {example}
            </button>
          </li>
        ))}
        <li>
          <button
            type="button"
            class="chip"
            onClick={() => take(surprise({ ...facts.value, examples: examples() }))}
          >
            <Icon name="dice" /> Surprise me
          </button>
        </li>
      </ul>
      <Suggestions add={(kind, word) => take(appendWord(form.prompt.value, kind, word))} />
      <div class="joined">
        <button
          type="submit"
          class="primary"
          onClick={(event) => {
            // The second half of a double click asks for nothing more.
            if (event.detail > 1) event.preventDefault();
          }}
        >
          {busy ? 'Add to the queue' : 'Develop'} <kbd>Enter</kbd>
        </button>
        {busy && (
          <button
            type="button"
            class="primary stop"
            onClick={() => {
              stopCurrent();
              // This button goes away with the last request.
              field.current?.focus({ preventScroll: true });
            }}
          >
            <Icon name="stop" /> Stop <kbd>Esc</kbd>
          </button>
        )}
      </div>
    </form>
  );
}

function Notes({ replace }: { replace: (word: string, by: string) => void }): JSX.Element | null {
  const { unknown, cut } = reading.value;
  if (unknown.length === 0 && !cut) return null;
  return (
    <>
      {unknown.length > 0 && (
        <p class="note">
          Not in the model’s vocabulary:{' '}
          {unknown.map(({ word, nearest }, i) => (
            <>
              {i > 0 && ', '}
              <mark>{word}</mark>
              {nearest && (
                <>
                  {' '}
                  (
                  <button type="button" class="chip inline" onClick={() => replace(word, nearest)}>
                    {nearest}
                  </button>
                  ?)
                </>
              )}
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

/** What the model can be asked for, by kind, where it says so. */
function Suggestions({ add }: { add: (kind: string, word: string) => void }): JSX.Element | null {
  const kinds = Object.entries(facts.value.suggestions).filter(([, words]) => words.length > 0);
  if (kinds.length === 0) return null;
  return (
    <details class="suggestions">
      <summary>
        <span>Words it knows well</span>
        <Icon name="chevron" />
      </summary>
      <dl>
        {kinds.map(([kind, words]) => (
          <div key={kind}>
            <dt>{kind.charAt(0).toUpperCase() + kind.slice(1)}</dt>
            <dd>
              {words.map((word) => (
                <button key={word} type="button" class="chip" onClick={() => add(kind, word)}>
                  {word}
                </button>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function appendWord(prompt: string, kind: string, word: string): string {
  if (!prompt.trim()) return word;
  return `${prompt.trimEnd()}${kind === 'styles' ? ',' : ''} ${word}`;
}

function replaceWord(prompt: string, word: string, by: string): string {
  return prompt.replaceAll(word, by);
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
