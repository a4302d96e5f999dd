import type { TensorRef } from '../onnx/model.ts';
import { loadOrder, residentBuffers } from './load-order.ts';
import { layoutParams } from './params.ts';
import type { BufferId, Plan, PlanBuffer } from './plan.ts';

/** Bytes that a plan takes on the device. */
export interface Footprint {
  /** Weights that stay, as kernels want them. */
  weightBytes: number;
  /** Intermediates, which stay allocated between runs. */
  intermediateBytes: number;
  /** Parameters of kernels. */
  paramBytes: number;
  inputBytes: number;
  outputBytes: number;
  /** The most that loading takes at once: intermediates, parameters, what is made so far, and what it is made from. */
  loadPeakBytes: number;
  /** The most that loading and running take at once. */
  peakBytes: number;
  /** Bytes of files that are read for it. */
  readBytes: number;
}

/** What a plan takes, from being loaded to being run. Nothing of it is on the device yet. */
export function footprintOf(plan: Plan): Footprint {
  const sum = (test: (buffer: PlanBuffer) => boolean): number =>
    plan.buffers.reduce((bytes, buffer) => bytes + (test(buffer) ? buffer.bytes : 0), 0);
  const { weightBytes, intermediateBytes } = plan;
  const paramBytes = layoutParams(plan).bytes;
  const inputBytes = sum(({ content }) => content.kind === 'input');
  const outputBytes = sum(({ content }) => content.kind === 'output');
  const { peak, refs } = simulateLoad(plan, residentBuffers(plan));
  const loadPeakBytes = intermediateBytes + paramBytes + peak;
  return {
    weightBytes,
    intermediateBytes,
    paramBytes,
    inputBytes,
    outputBytes,
    loadPeakBytes,
    peakBytes: Math.max(
      loadPeakBytes,
      weightBytes + intermediateBytes + paramBytes + inputBytes + outputBytes,
    ),
    readBytes: [...refs].reduce((bytes, { data }) => bytes + ('length' in data ? data.length : 0), 0),
  };
}

/** The most bytes that making these load-phase buffers takes at once. */
export function loadPeakOf(plan: Plan, targets: ReadonlySet<BufferId>): number {
  return simulateLoad(plan, targets).peak;
}

/** Goes through the load phase as `Load` does. */
function simulateLoad(plan: Plan, targets: ReadonlySet<BufferId>): { peak: number; refs: Set<TensorRef> } {
  const { steps, lastUse } = loadOrder(plan, targets);
  const refs = new Set<TensorRef>();
  const live = new Set<number>();
  let bytes = 0;
  let peak = 0;
  const provide = (id: number): void => {
    if (live.has(id)) return;
    live.add(id);
    const { content, bytes: own } = plan.buffers[id]!;
    if (content.kind === 'weight') refs.add(content.ref);
    peak = Math.max(peak, (bytes += own));
  };
  steps.forEach((step, index) => {
    step.buffers.forEach(provide);
    for (const id of new Set(step.buffers)) {
      if (lastUse.get(id) !== index || targets.has(id)) continue;
      live.delete(id);
      bytes -= plan.buffers[id]!.bytes;
    }
  });
  targets.forEach(provide);
  return { peak, refs };
}
