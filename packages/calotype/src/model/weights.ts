import type { WeightFormat } from '@calotype/core';
import type { WeightsOption } from '../pipelines/options.ts';

/** A decoder's errors are seen as they are, and its weights are few: one format for all spares it. */
export function formatOf(weights: WeightsOption = 'as-stored', component: string): WeightFormat {
  if (typeof weights !== 'string') return weights[component] ?? 'as-stored';
  return /^vae_|_decoder$/.test(component) && weights.startsWith('int') ? 'f16' : weights;
}
