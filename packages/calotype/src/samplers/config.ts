import { SamplerError } from '../errors.ts';
import type { PredictionType, SchedulerConfig } from './types.ts';

/** Reads a scheduler config field by field: defaults for absent ones, an error naming the field for wrong ones. */
export class ConfigReader {
  readonly sampler: string;
  readonly #config: SchedulerConfig;

  constructor(sampler: string, config: SchedulerConfig) {
    this.sampler = sampler;
    this.#config = config;
  }

  /** Gives up, naming the field. */
  fail(field: string, message: string): never {
    throw new SamplerError(this.sampler, field, message);
  }

  /** Whether the config says `null`, where that differs from not being there. */
  isNull(field: string): boolean {
    return this.#config[field] === null;
  }

  number(field: string, fallback: number): number {
    return this.optionalNumber(field) ?? fallback;
  }

  optionalNumber(field: string): number | undefined {
    const value = this.#config[field] ?? undefined;
    if (value === undefined) return undefined;
    if (typeof value === 'number' && !Number.isNaN(value)) return value;
    // Python writes infinities as strings where its JSON must stay standard.
    if (value === '-Infinity' || value === '-inf') return -Infinity;
    return this.fail(field, `expected a number, got ${JSON.stringify(value)}.`);
  }

  integer(field: string, fallback: number): number {
    const value = this.number(field, fallback);
    return Number.isInteger(value) ? value : this.fail(field, `expected an integer, got ${value}.`);
  }

  boolean(field: string, fallback: boolean): boolean {
    const value = this.#config[field] ?? fallback;
    return typeof value === 'boolean'
      ? value
      : this.fail(field, `expected a boolean, got ${JSON.stringify(value)}.`);
  }

  numbers(field: string): readonly number[] | undefined {
    const value = this.#config[field] ?? undefined;
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((item): item is number => typeof item === 'number')) return value;
    return this.fail(field, `expected a list of numbers, got ${JSON.stringify(value)}.`);
  }

  oneOf<const T extends string>(field: string, allowed: readonly T[], fallback: T): T {
    const value = this.#config[field] ?? fallback;
    const found = allowed.find((item) => item === value);
    return (
      found ??
      this.fail(field, `${JSON.stringify(value)} is not supported; use one of ${allowed.join(', ')}.`)
    );
  }

  /** `prediction_type`, refused where the algorithm has no form for it. */
  prediction(allowed: readonly PredictionType[], fallback: PredictionType = 'epsilon'): PredictionType {
    const all: readonly PredictionType[] = ['epsilon', 'v_prediction', 'sample', 'flow_prediction'];
    const type = this.oneOf('prediction_type', all, fallback);
    if (allowed.includes(type)) return type;
    const remedy =
      type === 'flow_prediction'
        ? "use 'flow-euler', 'flow-heun', or 'dpm++-2m' / 'unipc' with use_flow_sigmas"
        : "use 'ddim', 'euler' or 'dpm++-2m'";
    return this.fail('prediction_type', `this algorithm has no form for '${type}' models; ${remedy}.`);
  }

  /** Refuses a switch that asks for what a linear update cannot do. */
  refuse(field: string, why: string): void {
    if (this.boolean(field, false)) this.fail(field, why);
  }

  /** Dynamic thresholding ranks all values of an image; no linear combination with fixed weights does that. */
  refuseThresholding(): void {
    this.refuse(
      'thresholding',
      'dynamic thresholding depends on the quantiles of each image and cannot be written as per-step weights; ' +
        'it is meant for pixel-space models: set it to false.',
    );
  }

  /** Models that predict a variance too have twice the channels, of which these algorithms would use half. */
  refuseLearnedVariance(): void {
    const type = this.#config['variance_type'];
    if (type !== 'learned' && type !== 'learned_range') return;
    this.fail('variance_type', `'${type}' models predict a variance too; none is read here: leave it out.`);
  }

  /** `clip_sample` and `clip_sample_range`: the bound on predicted clean samples, if any. */
  clamp(fallback: boolean): number | undefined {
    return this.boolean('clip_sample', fallback) ? this.number('clip_sample_range', 1) : undefined;
  }
}
