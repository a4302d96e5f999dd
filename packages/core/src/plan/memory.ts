import type { BufferId, PlanBuffer, Step } from './plan.ts';

/** Buffers that a step touches. */
export function buffersOf(step: Step): BufferId[] {
  return step.kind === 'dispatch'
    ? step.buffers
    : [...step.inputs, ...step.outputs].map(({ view }) => view.buffer);
}

export interface MemoryPlan {
  buffers: PlanBuffer[];
  steps: Step[];
  /** New id of every old buffer; `undefined` for those that nothing uses. */
  moved: (BufferId | undefined)[];
  /** Bytes of the buffers that intermediates share. */
  intermediateBytes: number;
}

/**
 * Lets intermediates whose lifetimes do not meet share a buffer: the largest first, each into the first slot that is
 * free for its whole life (greedy by size, Pisarchyk and Lee 2020, arXiv:2001.03288). Whole buffers are shared, not
 * ranges of one arena: WebGPU refuses a buffer that one dispatch reads and writes, even at disjoint ranges.
 *
 * @param steps sorted by phase
 */
export function planMemory(buffers: readonly PlanBuffer[], steps: readonly Step[]): MemoryPlan {
  const first = new Map<BufferId, number>();
  const last = new Map<BufferId, number>();
  steps.forEach((step, index) => {
    for (const id of buffersOf(step)) {
      if (!first.has(id)) first.set(id, index);
      last.set(id, index);
    }
    // What an earlier phase leaves for a later one has to survive every repetition of the later one.
    for (const id of buffersOf(step)) if (buffers[id]!.phase !== step.phase) last.set(id, Infinity);
  });

  const result: PlanBuffer[] = [];
  const moved = buffers.map((): BufferId | undefined => undefined);
  const shared: BufferId[] = [];
  buffers.forEach((buffer, id) => {
    // Nothing writes an output without elements.
    if (!first.has(id) && buffer.content.kind !== 'output') return;
    if (buffer.content.kind === 'computed' && buffer.phase !== 'load') shared.push(id);
    else moved[id] = result.push(buffer) - 1;
  });

  const slots: { id: BufferId; lives: { first: number; last: number }[] }[] = [];
  shared.sort((a, b) => buffers[b]!.bytes - buffers[a]!.bytes || a - b);
  let intermediateBytes = 0;
  for (const id of shared) {
    const life = { first: first.get(id)!, last: last.get(id)! };
    let slot = slots.find(({ lives }) =>
      lives.every((other) => other.last < life.first || life.last < other.first),
    );
    if (!slot) {
      const buffer = buffers[id]!;
      slot = { id: result.push({ ...buffer, label: `shared${slots.length}` }) - 1, lives: [] };
      slots.push(slot);
      intermediateBytes += buffer.bytes;
    }
    slot.lives.push(life);
    moved[id] = slot.id;
  }
  const move = (id: BufferId): BufferId => moved[id]!;
  return {
    buffers: result,
    steps: steps.map((step) =>
      step.kind === 'dispatch'
        ? { ...step, buffers: step.buffers.map(move) }
        : {
            ...step,
            inputs: step.inputs.map((port) => ({
              ...port,
              view: { ...port.view, buffer: move(port.view.buffer) },
            })),
            outputs: step.outputs.map((port) => ({
              ...port,
              view: { ...port.view, buffer: move(port.view.buffer) },
            })),
          },
    ),
    moved,
    intermediateBytes,
  };
}
