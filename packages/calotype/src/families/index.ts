import type { Session } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import { takes, type Family } from './family.ts';
import { stableDiffusion, stableDiffusionXl } from './stable-diffusion.ts';

/**
 * The family that a denoiser is of, by the inputs of its graph. Those of transformers are fetched when they are wanted.
 *
 * @throws ModelFolderError for graphs of other forms
 */
export async function familyOf(denoiser: Session, path: string): Promise<Family> {
  const has = (input: string): boolean => takes(denoiser, input);
  if (has('sample')) return has('time_ids') ? stableDiffusionXl : stableDiffusion;
  if (has('hidden_states') && has('img_ids')) {
    return has('pooled_projections') ? (await import('./flux.ts')).flux : (await import('./flux-2.ts')).flux2;
  }
  if (has('hidden_states') && has('pooled_projections')) {
    return (await import('./stable-diffusion-3.ts')).stableDiffusion3;
  }
  const inputs = denoiser.inputs.map(({ name }) => name).join(', ');
  throw new ModelFolderError(
    path,
    `takes ${inputs}: this is none of the families known here (Stable Diffusion 1, 2, XL and 3, LCM, FLUX.1 and FLUX.2).`,
  );
}

export type { Family } from './family.ts';
