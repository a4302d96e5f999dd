import type { DispatchTime, Precision, TuningReport } from '@calotype/core';
import type { FlagSet } from '@calotype/dev/chromium';
import type { KernelPage } from './kernels/types.ts';
import type { ColdStart, GraphScenario, PictureScenario } from './scenarios.ts';
import type { ControlScenario, RequestsRow, RequestsScenario } from './requests-types.ts';

export const engines = ['calotype', 'onnxruntime-web', 'pytorch-eager', 'pytorch-graph'] as const;

export type EngineName = (typeof engines)[number];

/** What tells rows apart: a new one takes the place of an older one of the same key. */
export interface RowKey {
  scenario: string;
  engine: EngineName;
  /** Null for what runs in no browser. */
  flags: FlagSet | null;
}

/** One measurement, as `bench/results` holds it. */
export interface Measured extends RowKey {
  precision: string;
  /** Wall time from the call to the end of the GPU's work; of kernels, the GPU's time of one call. */
  medianMs: number;
  minMs: number;
  maxMs: number;
  runs: number;
  /** Against the float32 reference; null where there is none. */
  relativeL2: number | null;
  /** Largest sum of GPU buffers while running, weights included. */
  peakBytes: number | null;
  /** Dispatches of one run. */
  dispatches: number | null;
  /** Quantized weights: against the same session with its weights as stored. */
  relativeL2ToStored?: number;
  /** The median of that session. */
  storedMs?: number;
  /** Bytes of the weights on the GPU, and the most that the plan says loading and running take. */
  weightBytes?: number;
  plannedBytes?: number;
  /** Time from an empty session to the first result: weights made and packed, kernels compiled. */
  coldMs?: number;
  /** Parts of the time, in milliseconds, by name. */
  stages?: Record<string, number>;
  imagesPerSecond?: number;
  teraflops?: number;
  gigabytesPerSecond?: number;
  /** Options that a peer ran with, or the kernels that ran. */
  settings?: string;
  error?: undefined;
}

/** What could not be measured, and why. */
export interface Failed extends RowKey {
  error: string;
}

export type Row = (Measured | Failed) & {
  /** When, as ISO 8601. */
  made: string;
};

export interface BenchOptions {
  flags: FlagSet;
  precision: Precision;
  runs: number;
  /** How long concurrent requests are measured. */
  seconds: number;
  profile: boolean;
  /** Seconds in which kernels are measured first, so that the fastest are taken. */
  tune?: number | undefined;
  /** What replaces the kernels' own rules: see `page/rules.ts`. */
  rules?: string | undefined;
}

export interface Measurement {
  row: Measured;
  /** GPU time of every dispatch, where asked for. */
  profile?: DispatchTime[] | undefined;
  /** What measuring kernels found, where asked for. */
  tuning?: TuningReport | undefined;
}

/** How onnxruntime-web's WebGPU provider is set up. */
export interface OrtSettings {
  preferredLayout: 'NHWC' | 'NCHW';
  enableGraphCapture: boolean;
  /** Brings what layer norms scale by to the type of what they act on, which the exporter mixes and the runtime refuses. */
  castNorms?: boolean;
}

/** What the page offers to the runner. */
export interface BenchPage {
  adapter(): Promise<{ name: string; precision: Precision }>;
  /** What the page is at, for whoever waited too long. */
  phase: string;
  runGraph(scenario: GraphScenario, options: BenchOptions): Promise<Measurement>;
  /** Once a page: a session that cannot be made leaves onnxruntime-web unusable. */
  runOrt(scenario: GraphScenario, settings: OrtSettings, options: BenchOptions): Promise<Measurement>;
  /** The model stays loaded on the page from one call to the next. */
  runPictures(scenario: PictureScenario, options: BenchOptions): Promise<Measurement>;
  runColdStart(scenario: ColdStart, options: BenchOptions): Promise<Measurement>;
  /** Posts the hash-filled weights of a graph among the fixtures to `url`, each with its offset in their file. */
  sendWeights(graph: string, url: string): Promise<void>;
  /** Concurrent requests; the model stays loaded on the page from one call to the next. */
  runRequests(scenario: RequestsScenario, options: BenchOptions): Promise<RequestsRow>;
  runControl(scenario: ControlScenario, options: BenchOptions): Promise<Measurement>;
  /** Once a page: a client and its worker of its own. */
  runFrames(scenario: ControlScenario, options: BenchOptions): Promise<Measurement>;
  kernels: KernelPage;
}
