import { storageBits } from '../kernels/shader.ts';
import type { BufferId, Join, Phase, TensorView } from './plan.ts';
import { denseOrder, isDense } from './view.ts';

/** Two tensors of equal shape but for one axis, the innermost in memory, along which the second follows the first. */
export interface Pair {
  tensors: readonly [TensorView, TensorView];
  /** Their sizes along that axis. */
  widths: readonly [number, number];
}

/** Kernels read so many bits at once, never across the end of a row. */
const GROUP_BITS = 128;

/**
 * Remembers, while a plan is made, which tensors were copied together. Where that was along the innermost axis in memory,
 * kernels read rows from the two tensors that make them up; a copy that nobody reads is no part of the plan.
 */
export class Joins {
  readonly #joins: { name: string; buffer: BufferId; copied: string | undefined }[] = [];
  readonly #pairs = new Map<BufferId, Pair>();

  /**
   * @param whole the copy, dense in some order
   * @param phase in which it is known; what is not computed at every run may as well be copied
   */
  add(name: string, whole: TensorView, parts: readonly TensorView[], axis: number, phase: Phase): void {
    if (phase !== 'run') return;
    const copied = whyCopied(whole, parts, axis);
    const [first, second] = parts;
    if (copied === undefined && first && second) {
      const widths = [first.shape[axis]!, second.shape[axis]!] as const;
      this.#pairs.set(whole.buffer, { tensors: [first, second], widths });
    }
    this.#joins.push({ name, buffer: whole.buffer, copied });
  }

  /** The two tensors that make up what `view` looks at, where it sees whole rows: of its shape but for the joined axis. */
  pair(view: TensorView): Pair | undefined {
    const known = this.#pairs.get(view.buffer);
    if (!known) return undefined;
    const { tensors, widths } = known;
    const row = widths[0] + widths[1];
    const axis = view.shape.findIndex((size, a) => size === row && view.strides[a] === 1);
    const steps = view.strides.map((stride, a) => (a === axis || view.shape[a] === 1 ? 0 : stride));
    if (axis < 0 || [view.offset, ...steps].some((step) => step % row !== 0)) return undefined;
    const part = (index: 0 | 1): TensorView => {
      const scaled = (step: number): number => (step / row) * widths[index];
      return {
        ...view,
        buffer: tensors[index].buffer,
        shape: view.shape.map((size, a) => (a === axis ? widths[index] : size)),
        strides: steps.map((step, a) => (a === axis ? 1 : scaled(step))),
        offset: scaled(view.offset),
      };
    };
    return { tensors: [part(0), part(1)], widths };
  }

  /** @param readerOf label of a step that reads a buffer, if there is one */
  list(readerOf: (buffer: BufferId) => string | undefined): Join[] {
    return this.#joins.map(({ name, buffer, copied }) => {
      const reader = readerOf(buffer);
      const reason = copied ?? (reader === undefined ? undefined : `'${reader}' reads one tensor`);
      return { name, ...(reason !== undefined && { copied: reason }) };
    });
  }
}

function whyCopied(whole: TensorView, parts: readonly TensorView[], axis: number): string | undefined {
  if (parts.length > 2) return `it joins ${parts.length} tensors`;
  if (parts.some(({ storage }) => storage !== whole.storage))
    return 'its parts are stored in different types';
  const order = denseOrder(whole)!;
  const inner = order.findLast((a) => whole.shape[a] !== 1);
  if (inner !== axis || !parts.every((part) => isDense(part, order)))
    return 'it does not join rows of dense memory';
  const group = GROUP_BITS / storageBits[whole.storage];
  const odd = parts.map(({ shape }) => shape[axis]!).find((width) => width % group !== 0);
  return odd === undefined ? undefined : `${odd} is no multiple of ${group}`;
}
