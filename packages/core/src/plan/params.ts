import type { Dispatch, Plan } from './plan.ts';

/** Uniform blocks lie at multiples of this in one buffer (WebGPU's default minUniformBufferOffsetAlignment). */
const STRIDE = 256;

/** Where the uniform blocks of the dispatches of runs lie in the one buffer that a program has for them. */
export interface ParamsLayout {
  offsets: Map<Dispatch, number>;
  /** Size of the buffer; 0 where no dispatch has parameters. */
  bytes: number;
}

/** Lays out the parameters of all dispatches but those of the load phase, which run once. */
export function layoutParams({ steps }: Plan): ParamsLayout {
  const offsets = new Map<Dispatch, number>();
  let bytes = 0;
  for (const step of steps) {
    if (step.kind !== 'dispatch' || step.phase === 'load' || step.params.byteLength === 0) continue;
    offsets.set(step, bytes);
    bytes += Math.ceil(step.params.byteLength / STRIDE) * STRIDE;
  }
  return { offsets, bytes };
}
