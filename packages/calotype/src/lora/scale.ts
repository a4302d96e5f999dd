import { LoraError } from '../errors.ts';

/** @throws LoraError for what no LoRA can be scaled by */
export function checkScale(scale: number): void {
  if (!Number.isFinite(scale)) throw new LoraError('scale', `is ${scale}; it has to be a finite number.`);
}
