import type { ClientProgress, LoadProgress } from 'calotype';

/** What the page is asked for. */
export interface GenerateRequest {
  /** URL of the model's folder. */
  model: string;
  precision?: 'f32' | 'f16' | 'packed-f16';
  prompt: string;
  negativePrompt?: string;
  numInferenceSteps?: number;
  guidanceScale?: number;
  width?: number;
  height?: number;
  seed?: number;
  sampler?: string;
}

/** What comes of it. */
export interface GenerateOutcome {
  /** PNG file, base64. */
  png: string;
  width: number;
  height: number;
  seed: number;
  /** Denoising steps and guidance, as asked for or by the model's own defaults. */
  steps: number;
  guidanceScale: number;
  adapter: string;
  precision: string;
  /** What in the model's configs has no effect. */
  warnings: readonly string[];
  loadMs: number;
  encodeMs: number;
  denoiseMs: number;
  decodeMs: number;
}

export type ProgressEvent = ({ phase: 'load' } & LoadProgress) | ({ phase: 'generate' } & ClientProgress);

/** Functions that the page of `generate` offers. */
export interface GeneratePage {
  hasAdapter(): Promise<boolean>;
  generate(request: GenerateRequest): Promise<GenerateOutcome>;
}
