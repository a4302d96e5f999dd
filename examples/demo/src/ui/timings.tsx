import type { JSX } from 'preact';
import type { Plate } from '../state/plate.ts';
import { duration } from './format.ts';

/** Where the time went, stage by stage, and on what. */
export function Timings({ plate }: { plate: Plate }): JSX.Element {
  const { timings, settings, adapter, precision } = plate;
  const { loadMs, encodeMs, denoiseMs, decodeMs, totalMs } = timings;
  const waitMs = totalMs - loadMs - encodeMs - denoiseMs - decodeMs;
  const stages = [
    // A model that was ready cost the picture nothing.
    ...(timings.loadMs > 50 ? [{ name: 'Loading', kind: 'load', ms: timings.loadMs }] : []),
    // Behind other requests, and on the way between page and engine.
    ...(waitMs > 0.05 * totalMs ? [{ name: 'Waiting', kind: 'wait', ms: waitMs }] : []),
    { name: 'Prompt', kind: 'encode', ms: timings.encodeMs },
    { name: 'Denoising', kind: 'denoise', ms: timings.denoiseMs },
    { name: 'Decoding', kind: 'decode', ms: timings.decodeMs },
  ];
  return (
    <div class="timings">
      <div class="spans" aria-hidden="true">
        {stages.map(({ kind, ms }) => (
          <div key={kind} class={kind} style={{ flexGrow: Math.max(ms, timings.totalMs / 200) }} />
        ))}
      </div>
      <dl>
        {stages.map(({ name, ms }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{duration(ms)}</dd>
          </div>
        ))}
        <div>
          <dt>In all</dt>
          <dd>{duration(timings.totalMs)}</dd>
        </div>
      </dl>
      <p class="hint">
        On {adapter}, {precision}; {duration(denoiseMs / settings.steps)} a step
        {(plate.together ?? 1) > 1 && ` of ${plate.together} pictures at once`}
      </p>
    </div>
  );
}
