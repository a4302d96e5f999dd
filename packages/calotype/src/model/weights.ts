import type { WeightFormat } from '@calotype/core';
import type { WeightsOption } from '../pipelines/options.ts';

/** The decoder's errors are seen as they are, and its weights are few: one format for all spares it. */
export function formatOf(weights: WeightsOption = 'as-stored', component: string): WeightFormat {
  if (typeof weights !== 'string') return weights[component] ?? 'as-stored';
  return component.startsWith('vae_') && weights.startsWith('int') ? 'f16' : weights;
}
