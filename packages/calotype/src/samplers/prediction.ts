import { assertNever } from './assert-never.ts';
import type { NoiseMix, PredictionType } from './types.ts';

/** Weights on the current sample and the model's output. */
export interface Mix {
  readonly sample: number;
  readonly output: number;
}

/** A clean-sample prediction and the noise prediction that goes with it. */
export interface Prediction {
  readonly x0: Mix;
  readonly epsilon: Mix;
}

/**
 * Reads a model's output where the sample is `alpha · x0 + sigma · noise`.
 * v is `alpha · noise − sigma · x0` (Salimans & Ho, arXiv 2202.00512); flow is `noise − x0` with `alpha = 1 − sigma`
 * (Lipman et al., arXiv 2210.02747).
 */
export function prediction(type: PredictionType, alpha: number, sigma: number): Prediction {
  switch (type) {
    case 'epsilon':
      return { x0: { sample: 1 / alpha, output: -sigma / alpha }, epsilon: { sample: 0, output: 1 } };
    case 'v_prediction':
      return { x0: { sample: alpha, output: -sigma }, epsilon: { sample: sigma, output: alpha } };
    case 'sample':
      return { x0: { sample: 0, output: 1 }, epsilon: { sample: 1 / sigma, output: -alpha / sigma } };
    case 'flow_prediction':
      return { x0: { sample: 1, output: -sigma }, epsilon: { sample: 1, output: 1 - sigma } };
    default:
      return assertNever(type);
  }
}

/** The clean sample where the sample is `x0 + sigma · noise`, and the model saw it scaled by `1 / √(σ² + 1)`. */
export function denoised(type: PredictionType, sigma: number): Mix {
  switch (type) {
    case 'epsilon':
    case 'flow_prediction':
      return { sample: 1, output: -sigma };
    case 'v_prediction':
      return { sample: 1 / (sigma ** 2 + 1), output: -sigma / Math.sqrt(sigma ** 2 + 1) };
    case 'sample':
      return { sample: 0, output: 1 };
    default:
      return assertNever(type);
  }
}

/** √ᾱ and √(1 − ᾱ). */
export function signalAndNoise(alphaCumprod: number): { alpha: number; sigma: number } {
  return { alpha: Math.sqrt(alphaCumprod), sigma: Math.sqrt(1 - alphaCumprod) };
}

/** Noise mix at a given ᾱ. */
export function mixAt(alphaCumprod: number): NoiseMix {
  const { alpha, sigma } = signalAndNoise(alphaCumprod);
  return { x0: alpha, noise: sigma };
}
