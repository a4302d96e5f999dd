import { gpuIdleShare } from '@calotype/scheduler';
import { useComputed } from '@preact/signals';
import type { JSX } from 'preact';
import { chromeTraceFile, recording, type Recording } from '../state/recording.ts';
import { openJobs } from '../state/queue.ts';
import { duration } from './format.ts';
import { Icon } from './icons.tsx';
import { ticks, timelineRows, type Row } from './timeline-rows.ts';

/** Stages in the order in which a request passes through them, with their names on the page. */
const stages: Readonly<Record<string, string>> = {
  wait: 'Waiting',
  load: 'Model',
  encode: 'Prompt',
  denoise: 'Denoising',
  decode: 'Decoding',
  image: 'PNG',
};

/** What the engine did for whom and when, drawn from its recording while it works. */
export function Timeline(): JSX.Element | null {
  const drawn = useComputed(() => recording.value && timelineRows(recording.value.spans));
  const taken = recording.value;
  if (!taken || !drawn.value || drawn.value.length === 0) return null;
  const { rows, length } = drawn.value;
  const kinds = Object.keys(stages).filter((kind) =>
    rows.some(({ bars }) => bars.some((bar) => bar.kind === kind)),
  );
  const idle = gpuIdleShare(taken.spans);
  return (
    <section class="timeline" aria-labelledby="timeline-title">
      <div class="section-head">
        <h2 id="timeline-title">Timeline</h2>
        <p class="hint">
          {duration(length)}
          {openJobs.value.length === 0 && `, GPU idle ${Math.round(idle * 100)} %`}
        </p>
        <ul class="legend" aria-hidden="true">
          {kinds.map((kind) => (
            <li key={kind}>
              <span class={`swatch ${kind}`} /> {stages[kind]}
            </li>
          ))}
        </ul>
        <button
          type="button"
          class="quiet"
          title="For ui.perfetto.dev or chrome://tracing"
          onClick={() => save(taken)}
        >
          <Icon name="download" /> Chrome trace
        </button>
      </div>
      <div class="tracks" role="img" aria-label={rows.map((row) => inWords(row)).join(' ')}>
        {rows.map((row) => (
          <Track key={row.track} row={row} length={length} />
        ))}
        <div class="track axis">
          <span />
          <div>
            {ticks(length).map((time) => (
              <span key={time} style={{ left: `${(100 * time) / length}%` }}>
                {time === 0 ? '0' : duration(time)}
              </span>
            ))}
          </div>
        </div>
      </div>
    </section>
  );
}

function Track({ row, length }: { row: Row; length: number }): JSX.Element {
  return (
    <div class="track">
      <span class="track-name" title={row.track}>
        {nameOf(row)}
      </span>
      <svg viewBox={`0 0 ${length} 10`} preserveAspectRatio="none">
        {row.bars.map(({ kind, start, end }) => (
          <rect
            key={`${kind} ${start}`}
            class={kind}
            x={start}
            y={kind === 'wait' ? 4 : 0}
            width={Math.max(end - start, length / 1000)}
            height={kind === 'wait' ? 2 : 10}
          >
            <title>
              {stages[kind] ?? kind}, {duration(end - start)}
            </title>
          </rect>
        ))}
      </svg>
    </div>
  );
}

function nameOf({ track }: Row): string {
  return track === 'gpu' ? 'GPU' : track.replace(/ \(seed \d+, \d+\)$/, '');
}

function inWords(row: Row): string {
  const sums = Object.entries(stages).flatMap(([kind, name]) => {
    const bars = row.bars.filter((bar) => bar.kind === kind);
    const ms = bars.reduce((sum, { start, end }) => sum + end - start, 0);
    return bars.length > 0 ? [`${name} ${duration(ms)}`] : [];
  });
  return `${nameOf(row)}: ${sums.join(', ')}.`;
}

function save(taken: Recording): void {
  const file = chromeTraceFile(taken);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
