import { findSampler } from './names.ts';
import type { Sampler, SchedulerConfig } from './types.ts';

/**
 * `createSampler` for code that flow models load too: the samplers of diffusion models are fetched when one is wanted.
 *
 * @throws SamplerError
 */
export async function loadSampler(
  choice: string | SchedulerConfig,
  model: SchedulerConfig = {},
): Promise<Sampler> {
  const found = findSampler(choice, model);
  if ('sampler' in found) return found.sampler;
  const { createSampler } = await import('./registry.ts');
  return createSampler(choice, model);
}
