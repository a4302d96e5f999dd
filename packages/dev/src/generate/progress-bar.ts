import type { ProgressEvent } from './types.ts';

const WIDTH = 28;

/** What an event says: a label and, where it can be told, the share done. */
export function describeEvent(event: ProgressEvent): { label: string; done?: number; total?: number } {
  if (event.phase === 'load') {
    return { label: `${event.component}: ${event.stage}`, done: event.done, total: event.total };
  }
  switch (event.stage) {
    case 'queued':
      return { label: 'waiting' };
    case 'restarted':
      return { label: 'starting again' };
    case 'encode':
      return { label: 'encoding the prompt' };
    case 'denoise':
      return { label: 'denoising', done: event.step, total: event.steps };
    case 'decode':
      return { label: 'decoding', done: event.image, total: event.images };
  }
}

/** One line of a terminal, `width` columns at most. */
export function formatBar(label: string, done?: number, total?: number): string {
  if (done === undefined || !total) return `${' '.repeat(WIDTH + 2)} ${label}`;
  const filled = Math.round((Math.min(done, total) / total) * WIDTH);
  return `[${'━'.repeat(filled)}${' '.repeat(WIDTH - filled)}] ${label} ${formatCount(done, total)}`;
}

/** Bytes and the like in percent, steps in numbers. */
function formatCount(done: number, total: number): string {
  return total > 1000 ? `${Math.floor((done / total) * 100)} %` : `${done}/${total}`;
}

/** Shows progress on a terminal in one line that is drawn over; elsewhere a line for every new label. */
export class ProgressBar {
  readonly #stream: NodeJS.WriteStream;
  #label = '';

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  show(event: ProgressEvent): void {
    const { label, done, total } = describeEvent(event);
    if (this.#stream.isTTY) {
      this.#stream.write(`\r\u001b[K${formatBar(label, done, total).slice(0, this.#stream.columns - 1)}`);
    } else if (label !== this.#label) this.#stream.write(`${label}\n`);
    this.#label = label;
  }

  /** Clears the line. */
  end(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K');
  }
}
