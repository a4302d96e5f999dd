import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { facts, samplers } from '../state/model.ts';
import { form, isCustom, resetSettings, settings, settingsShown } from '../state/settings.ts';
import { samplerLabel } from './format.ts';
import { Icon } from './icons.tsx';

const MAX_SEED = Number.MAX_SAFE_INTEGER;

/** Everything beside the prompt. Closed to begin with: the model's own settings are good ones. */
export function SettingsPanel(): JSX.Element {
  const { defaults, ownSampler } = facts.value;
  const { steps, guidanceScale, sampler } = settings.value;
  const guided = guidanceScale > 1;
  return (
    <details class="settings" onToggle={(event) => (settingsShown.value = event.currentTarget.open)}>
      <summary>
        <span>Settings</span>
        <span class="summary-line">{summary()}</span>
        <Icon name="chevron" />
      </summary>
      <div class="fields">
        <NumberField
          id="steps"
          label="Steps"
          hint={`${defaults.steps} suit this model`}
          field={form.steps}
          fallback={steps}
          min={1}
          max={150}
          step={1}
        />
        <NumberField
          id="guidance"
          label="Guidance"
          hint={defaults.guidanceScale > 1 ? 'how strictly it follows' : '1: built into this model'}
          field={form.guidanceScale}
          fallback={guidanceScale}
          min={0}
          max={50}
          step={0.5}
        />
        <SizeField />
        <div class="field">
          <label for="count">Pictures</label>
          <select
            id="count"
            value={String(form.count.value)}
            onChange={(event) => (form.count.value = Number(event.currentTarget.value))}
          >
            <option value="1">One</option>
            <option value="2">Two</option>
            <option value="4">Grid of four</option>
          </select>
        </div>
        <div class="field wide">
          <label for="sampler">Sampler</label>
          <select
            id="sampler"
            value={sampler}
            onChange={(event) => (form.sampler.value = event.currentTarget.value)}
          >
            <option value="">{ownSampler ? `The model’s own (${ownSampler})` : 'The model’s own'}</option>
            {[...new Set([...(samplers.value ?? []), ...(sampler ? [sampler] : [])])].map((name) => (
              <option key={name} value={name}>
                {samplerLabel(name)}
              </option>
            ))}
          </select>
        </div>
        <div class="field wide">
          <label for="seed">Seed</label>
          <div class="joined">
            <input
              id="seed"
              type="number"
              inputMode="numeric"
              min={0}
              max={MAX_SEED}
              step={1}
              placeholder="random"
              value={form.seed.value ?? ''}
              aria-describedby="seed-hint"
              onChange={(event) => {
                const value = event.currentTarget.valueAsNumber;
                form.seed.value =
                  Number.isInteger(value) && value >= 0 && value <= MAX_SEED ? value : undefined;
                // Also where the form's own value did not change, and so nothing would be drawn anew.
                event.currentTarget.value = String(form.seed.value ?? '');
              }}
            />
            <button
              type="button"
              class="quiet"
              disabled={form.seed.value === undefined}
              onClick={() => (form.seed.value = undefined)}
            >
              Random
            </button>
          </div>
          <p class="hint" id="seed-hint">
            The same seed and settings give the same picture.
          </p>
        </div>
        <div class="field wide">
          <label for="negative">Steer away from</label>
          <input
            id="negative"
            type="text"
            maxLength={2000}
            autocomplete="off"
            disabled={!guided}
            value={form.negativePrompt.value}
            aria-describedby="negative-hint"
            onInput={(event) => (form.negativePrompt.value = event.currentTarget.value)}
          />
          <p class="hint" id="negative-hint">
            {guided ? 'The negative prompt.' : 'The negative prompt works with guidance above 1.'}
          </p>
        </div>
        <button type="button" class="quiet reset" disabled={!isCustom.value} onClick={resetSettings}>
          Back to the model’s settings
        </button>
      </div>
    </details>
  );
}

function summary(): string {
  const { steps, width, height } = settings.value;
  const count = form.count.value;
  return `${width} × ${height}, ${steps} ${steps === 1 ? 'step' : 'steps'}${count > 1 ? `, ${count} pictures` : ''}${
    form.seed.value === undefined ? '' : `, seed ${form.seed.value}`
  }`;
}

function SizeField(): JSX.Element {
  const { sizes } = facts.value;
  const { width, height } = settings.value;
  const current = `${width}x${height}`;
  const offered = sizes.map(([w, h]) => `${w}x${h}`);
  return (
    <div class="field">
      <label for="size">Size</label>
      <select
        id="size"
        value={current}
        onChange={(event) => {
          const [w, h] = event.currentTarget.value.split('x').map(Number);
          form.size.value = event.currentTarget.value === offered[0] ? undefined : [w!, h!];
        }}
      >
        {[...new Set([...offered, current])].map((size) => (
          <option key={size} value={size}>
            {size.replace('x', ' × ')}
          </option>
        ))}
      </select>
    </div>
  );
}

interface NumberFieldProps {
  id: string;
  label: string;
  hint: string;
  field: Signal<number | undefined>;
  fallback: number;
  min: number;
  max: number;
  step: number;
}

/** A number that follows the model until the visitor changes it; emptied, it follows again. */
function NumberField({ id, label, hint, field, fallback, ...range }: NumberFieldProps): JSX.Element {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        {...range}
        value={field.value ?? fallback}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const value = event.currentTarget.valueAsNumber;
          field.value = Number.isFinite(value) ? Math.min(range.max, Math.max(range.min, value)) : undefined;
          event.currentTarget.value = String(field.value ?? fallback);
        }}
      />
      <p class="hint" id={`${id}-hint`}>
        {hint}
      </p>
    </div>
  );
}
