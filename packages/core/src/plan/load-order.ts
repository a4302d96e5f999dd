import type { BufferId, Dispatch, Plan } from './plan.ts';

/** The order in which the load phase of a plan, or a part of it, is run. */
export interface LoadOrder {
  /** The steps that lead to the targets, in order. */
  steps: Dispatch[];
  /** Buffers in the order in which they are needed. */
  buffers: BufferId[];
  /** The last of `steps` that touches each buffer. */
  lastUse: ReadonlyMap<BufferId, number>;
}

/** @param targets load-phase buffers to make */
export function loadOrder(plan: Plan, targets: ReadonlySet<BufferId>): LoadOrder {
  const steps = stepsTo(plan, targets);
  const lastUse = new Map<BufferId, number>();
  steps.forEach((step, index) => step.buffers.forEach((id) => lastUse.set(id, index)));
  return { steps, lastUse, buffers: [...new Set([...steps.flatMap((step) => step.buffers), ...targets])] };
}

function stepsTo(plan: Plan, targets: ReadonlySet<BufferId>): Dispatch[] {
  const live = new Set(targets);
  const steps: Dispatch[] = [];
  for (const step of plan.steps.toReversed()) {
    if (step.phase !== 'load' || step.kind !== 'dispatch') continue;
    const writes = step.buffers.filter((_, i) => step.kernel.bindings[i] === 'write');
    if (!writes.some((id) => live.has(id))) continue;
    for (const id of step.buffers) live.add(id);
    steps.push(step);
  }
  return steps.toReversed();
}

/** Load-phase buffers that later phases read. */
export function residentBuffers({ steps, buffers }: Plan): Set<BufferId> {
  const resident = new Set<BufferId>();
  for (const step of steps) {
    if (step.phase === 'load') continue;
    const used = step.kind === 'dispatch' ? step.buffers : step.inputs.map(({ view }) => view.buffer);
    for (const id of used) if (buffers[id]!.phase === 'load') resident.add(id);
  }
  return resident;
}
