import { SamplerError } from '../errors.ts';
import { columns, type NoiseMix, type Row, type SamplerPlan, type SamplerStep } from './types.ts';

/** Sum of rows, each times a weight. */
export function combine(...terms: readonly (readonly [weight: number, row: Row])[]): Row {
  const sum = new Float64Array(terms[0]![1].length);
  for (const [weight, row] of terms) {
    // A zero weight drops the operand: 0 · Infinity would poison the row.
    if (weight === 0) continue;
    for (let i = 0; i < sum.length; i++) if (row[i] !== 0) sum[i]! += weight * row[i]!;
  }
  return sum;
}

/** One step as an algorithm states it; see {@link SamplerStep}. */
export interface StepUpdate {
  readonly timestep: number;
  readonly inputScale?: number;
  readonly next: Row;
  /** New content by slot; slots left out keep theirs. */
  readonly history?: readonly (Row | undefined)[];
  readonly drawsNoise?: boolean;
  readonly noised: NoiseMix;
}

/**
 * Lets an algorithm be written with symbols for its operands, and records the linear combinations that result.
 *
 * @example
 * const x0 = builder.predictX0(1, -sigma);           // sample − σ · output
 * builder.push({ next: combine([a, builder.sample], [b, x0]), … });
 */
export class PlanBuilder {
  readonly sample: Row;
  readonly output: Row;
  readonly noise: Row;
  /** The history slots' content before the step. */
  readonly slots: readonly Row[];
  readonly #sampler: string;
  readonly #clampX0: number | undefined;
  readonly #x0: Row;
  readonly #steps: SamplerStep[] = [];
  readonly #firstIndex: number;
  #prediction = { sample: 0, output: 0 };

  constructor(options: {
    sampler: string;
    slots?: number;
    firstIndex: number;
    clampX0?: number | undefined;
  }) {
    const slots = options.slots ?? 0;
    const unit = (column: number): Row => {
      const row = new Float64Array(columns.history + slots);
      row[column] = 1;
      return row;
    };
    this.#sampler = options.sampler;
    this.#clampX0 = options.clampX0;
    this.#firstIndex = options.firstIndex;
    this.sample = unit(columns.sample);
    this.output = unit(columns.output);
    this.#x0 = unit(columns.x0);
    this.noise = unit(columns.noise);
    this.slots = Array.from({ length: slots }, (_, slot) => unit(columns.history + slot));
  }

  /** States this step's predicted clean sample and gives the row to go on with, clamped if the plan clamps. */
  predictX0(sample: number, output: number): Row {
    this.#prediction = { sample, output };
    return this.#clampX0 === undefined ? combine([sample, this.sample], [output, this.output]) : this.#x0;
  }

  /** Ends a step. */
  push(update: StepUpdate): void {
    const history = this.slots.map((slot, index) => update.history?.[index] ?? slot);
    const step: SamplerStep = {
      index: this.#firstIndex + this.#steps.length,
      timestep: update.timestep,
      inputScale: update.inputScale ?? 1,
      x0: this.#prediction,
      drawsNoise: update.drawsNoise ?? false,
      sample: update.next,
      history,
      noised: update.noised,
    };
    const numbers = [step.timestep, step.inputScale, step.x0.sample, step.x0.output, ...step.sample];
    for (const row of history) numbers.push(...row);
    if (!numbers.every(Number.isFinite)) {
      throw new SamplerError(
        this.#sampler,
        `step ${step.index}`,
        `the coefficients at timestep ${step.timestep} are not finite: the schedule has no signal left there ` +
          '(zero terminal SNR) or repeats a noise level. Use prediction_type v_prediction, another timestep_spacing, ' +
          'or other steps.',
      );
    }
    this.#steps.push(step);
  }

  /** The finished plan. */
  finish(rest: { initNoiseSigma: number; sigmas?: Float64Array }): SamplerPlan {
    return {
      sampler: this.#sampler,
      timesteps: Float64Array.from(this.#steps, (step) => step.timestep),
      sigmas: rest.sigmas,
      initNoiseSigma: rest.initNoiseSigma,
      historySlots: this.slots.length,
      clampX0: this.#clampX0,
      noiseDraws: this.#steps.filter((step) => step.drawsNoise).length,
      steps: this.#steps,
    };
  }
}
