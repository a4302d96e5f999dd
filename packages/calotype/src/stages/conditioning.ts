import type { Tensor } from '@calotype/core';

/**
 * What steers a denoiser beside its latents and the timestep, by the names of its inputs: embeddings, pooled
 * embeddings, time ids, attention masks, position ids. A family's `encode` makes it, the denoiser takes it as it is.
 *
 * All tensors lie on the GPU in float32, whatever the graph declares.
 */
export interface Conditioning {
  readonly images: number;
  /** With guidance every image has two rows: first come those without the prompt, for all images, then those with it. */
  readonly branches: 1 | 2;
  /** Inputs with `branches · images` rows. */
  readonly rows: Readonly<Record<string, Tensor>>;
  /** Inputs that all rows share, such as position ids. */
  readonly shared: Readonly<Record<string, Tensor>>;
}

/** Gives back the memory of all tensors. */
export function disposeConditioning({ rows, shared }: Conditioning): void {
  for (const tensor of [...Object.values(rows), ...Object.values(shared)]) tensor.dispose();
}

/** Equal where two conditionings can go through a model in one call. */
export function conditioningKey({ rows, shared }: Conditioning): string {
  const rowShapes = Object.entries(rows).map(([name, { shape }]) => `${name}[${shape.slice(1).join()}]`);
  const sharedShapes = Object.entries(shared).map(([name, { shape }]) => `${name}=[${shape.join()}]`);
  return [...rowShapes, ...sharedShapes].toSorted().join(' ');
}
