import type { DispatchTime, Precision } from '@calotype/core';
import type { FlagSet } from '@calotype/dev/chromium';
import type { RequestsRow, RequestsScenario } from './requests-types.ts';
import type { GraphScenario } from './scenarios.ts';

/** One measurement, as `bench/results` holds it. */
export interface Row {
  scenario: string;
  engine: 'calotype' | 'onnxruntime-web' | 'pytorch-eager' | 'pytorch-graph';
  flags: FlagSet;
  precision: Precision;
  /** Wall time from the call to the end of the GPU's work. */
  medianMs: number;
  minMs: number;
  maxMs: number;
  runs: number;
  /** Against the float32 reference; null where there is none. */
  relativeL2: number | null;
  /** Quantized weights: against the same session with its weights as stored. */
  relativeL2ToStored?: number;
  /** Bytes of the weights on the GPU, and all bytes that the plan says a run takes, inputs and outputs included. */
  weightBytes: number;
  plannedBytes: number;
  /** Largest sum of GPU buffers while running, weights included. */
  peakBytes: number;
  dispatches: number;
  /** Time from an empty session to the first result: weights made and packed, kernels compiled. */
  coldMs: number;
}

export interface BenchOptions {
  flags: FlagSet;
  precision: Precision;
  runs: number;
  profile: boolean;
}

export interface Measurement {
  row: Row;
  /** GPU time of every dispatch, where asked for. */
  profile: DispatchTime[] | undefined;
}

/** What the page offers to the runner. */
export interface BenchPage {
  adapter(): Promise<{ name: string; precision: Precision }>;
  run(scenario: GraphScenario, options: BenchOptions): Promise<Measurement>;
  /** Concurrent requests; the model stays loaded on the page from one call to the next. */
  runRequests(scenario: RequestsScenario, options: BenchOptions): Promise<RequestsRow>;
}
