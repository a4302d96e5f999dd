/** How activations are stored while a fixture runs. */
export const precisions = ['f32', 'f16', 'packed-f16'] as const;
export type Precision = (typeof precisions)[number];

/** One thing to verify. Paths are relative to the folder verified, with forward slashes. */
export type Fixture = { name: string } & (
  | {
      kind: 'graph';
      model: string;
      /** Safetensors of inputs and outputs under their graph names. */
      reference: string;
      /** List of hash-filled weights, where the graph's own are left out. */
      weights?: string;
    }
  /** A graph without reference: onnxruntime's CPU provider gives the numbers. */
  | { kind: 'compare'; model: string }
  | { kind: 'pipeline'; folder: string; reference: string; run: Run }
  | { kind: 'samplers'; file: string }
  | { kind: 'tokenizer'; folder: string; expected: string }
  | { kind: 'unsupported'; reason: string }
);

export type FixtureKind = Fixture['kind'];
export type FixtureOf<K extends FixtureKind> = Extract<Fixture, { kind: K }>;

/**
 * An entry of a `runs.json`: in short fields, in `options` of the library by their names, or in diffusers' arguments by
 * theirs (`guidance_rescale`, `original_size`, …).
 */
export interface Run {
  id: string;
  prompt?: string;
  neg?: string | null;
  steps?: number;
  cfg?: number;
  batch?: number;
  h?: number;
  w?: number;
  /** Class and overrides of the model's own config, a friendly name, or nothing: that config as it is. */
  scheduler?: Record<string, unknown> | string | null;
  timesteps?: number[];
  options?: Record<string, unknown>;
  [argument: string]: unknown;
}

export interface VerifyOptions {
  precision: Precision;
  /** Adapters are made to offer no more than WebGPU's default limits. */
  defaultLimits: boolean;
}

/** What one fixture came to. */
export interface Row {
  name: string;
  status: 'passed' | 'failed' | 'unsupported';
  /** What ran it: the device and precision, and any islands that onnxruntime ran. */
  path: string;
  maxAbs?: number;
  relL2?: number;
  seconds: number;
  /** Why it failed or is not supported, and whatever else is worth a line. */
  detail?: string;
}

/** What a kind of fixture computes in the page; the runner adds name and time. */
export type Verdict = Omit<Row, 'name' | 'seconds'>;

/** Functions that the page of `verify` offers to the runner. */
export interface VerifyPage {
  /** The adapter, in a few words. */
  adapter(): Promise<string>;
  verify(fixture: Fixture, options: VerifyOptions): Promise<Verdict>;
}
