import { columns, type Row, type SamplerPlan, type SamplerStep } from './types.ts';

/** What a run carries from step to step. */
export interface SamplerState {
  sample: Float64Array;
  history: Float64Array[];
}

/**
 * Reference interpreter of a plan's step, in float64: what the GPU kernel must compute.
 *
 * @param noise This step's draw; may be left out where every weight on it is zero.
 */
export function applyStep(
  plan: Pick<SamplerPlan, 'clampX0'>,
  step: SamplerStep,
  state: SamplerState,
  output: ArrayLike<number>,
  noise?: ArrayLike<number>,
): SamplerState {
  const { sample } = state;
  const limit = plan.clampX0 ?? Infinity;
  const x0 = Float64Array.from(sample, (value, i) =>
    Math.min(limit, Math.max(-limit, step.x0.sample * value + step.x0.output * output[i]!)),
  );
  const operands: ArrayLike<number>[] = [];
  operands[columns.sample] = sample;
  operands[columns.output] = output;
  operands[columns.x0] = x0;
  operands[columns.noise] = noise ?? new Float64Array(sample.length).fill(NaN);
  state.history.forEach((slot, k) => (operands[columns.history + k] = slot));

  const evaluate = (row: Row): Float64Array => {
    const result = new Float64Array(sample.length);
    row.forEach((weight, column) => {
      if (weight === 0) return;
      const operand = operands[column]!;
      for (let i = 0; i < result.length; i++) result[i]! += weight * operand[i]!;
    });
    return result;
  };
  return { sample: evaluate(step.sample), history: step.history.map(evaluate) };
}

/** State at the start of a run. Slots start as NaN: a plan that read one before writing it would show at once. */
export function initialState(plan: SamplerPlan, sample: ArrayLike<number>): SamplerState {
  return {
    sample: Float64Array.from(sample),
    history: Array.from({ length: plan.historySlots }, () => new Float64Array(sample.length).fill(NaN)),
  };
}

/** Floats that precede the rows of a packed step, by position. */
export const packedHeader = {
  inputScale: 0,
  x0Sample: 1,
  x0Output: 2,
  clampX0: 3,
  noisedX0: 4,
  noisedNoise: 5,
  timestep: 6,
  drawsNoise: 7,
  rows: 8,
} as const;

/** A plan as one buffer of float32, for the GPU. */
export interface PackedPlan {
  readonly data: Float32Array<ArrayBuffer>;
  /** Floats a step takes: 8 of header, then the rows (sample first, then the slots). */
  readonly stride: number;
  readonly rows: number;
  readonly columns: number;
}

/** Lays out a plan for the GPU: step `i` starts at float `i · stride`. No clamp is written as the largest float32. */
export function packPlan(plan: SamplerPlan): PackedPlan {
  const rows = 1 + plan.historySlots;
  const width = columns.history + plan.historySlots;
  const stride = Math.ceil((packedHeader.rows + rows * width) / 4) * 4;
  const data = new Float32Array(stride * plan.steps.length);
  plan.steps.forEach((step, i) => {
    const at = i * stride;
    data[at + packedHeader.inputScale] = step.inputScale;
    data[at + packedHeader.x0Sample] = step.x0.sample;
    data[at + packedHeader.x0Output] = step.x0.output;
    data[at + packedHeader.clampX0] = plan.clampX0 ?? 3.4028234663852886e38;
    data[at + packedHeader.noisedX0] = step.noised.x0;
    data[at + packedHeader.noisedNoise] = step.noised.noise;
    data[at + packedHeader.timestep] = step.timestep;
    data[at + packedHeader.drawsNoise] = step.drawsNoise ? 1 : 0;
    [step.sample, ...step.history].forEach((row, k) => data.set(row, at + packedHeader.rows + k * width));
  });
  return { data, stride, rows, columns: width };
}
