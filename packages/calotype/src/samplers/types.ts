/** A diffusers `scheduler_config.json`, or a part of one. Field names are diffusers' own. */
export type SchedulerConfig = Readonly<Record<string, unknown>>;

/** What a model's output stands for. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'sample' | 'flow_prediction';

/**
 * Columns of a {@link Row}. History slot `k` is column `history + k`.
 *
 * `x0` is the predicted clean sample of this step. It is only used by plans that clamp it (`plan.clampX0`); in all
 * others it is already folded into `sample` and `output` and its column is zero.
 */
export const columns = { sample: 0, output: 1, x0: 2, noise: 3, history: 4 } as const;

/**
 * Weights of one linear combination, a value per column of {@link columns}.
 * A weight of zero means the operand is not read: history slots hold garbage until they are first written.
 */
export type Row = Float64Array;

/** A mixture of a clean sample and Gaussian noise: `x0 · clean + noise · N(0, 1)`. */
export interface NoiseMix {
  readonly x0: number;
  readonly noise: number;
}

/** One model call and the update that follows it. All right-hand sides are evaluated before anything is written. */
export interface SamplerStep {
  /** Position in the sampler's whole schedule (not zero for the first step of an image-to-image plan). */
  readonly index: number;
  /** What the model gets as its timestep. */
  readonly timestep: number;
  /** The model's input is `inputScale · sample`. */
  readonly inputScale: number;
  /** Predicted clean sample: `x0.sample · sample + x0.output · output`, then clamped if the plan says so. */
  readonly x0: { readonly sample: number; readonly output: number };
  /** Whether diffusers takes a noise tensor from its generator here (also where its weight is zero). */
  readonly drawsNoise: boolean;
  /** The next sample. */
  readonly sample: Row;
  /** New content of every history slot. */
  readonly history: readonly Row[];
  /** A clean sample noised to the level this step starts from: for image-to-image and for inpainting's known region. */
  readonly noised: NoiseMix;
}

/** Everything a run of a sampler needs, as numbers: one kernel applies every plan. */
export interface SamplerPlan {
  /** Friendly name of the sampler. */
  readonly sampler: string;
  /** Timestep of every model call. */
  readonly timesteps: Float64Array;
  /** Noise levels as diffusers lists them (one or more beyond the calls), where the algorithm has them. */
  readonly sigmas: Float64Array | undefined;
  /** Start noise of a text-to-image run is multiplied by this. Not for runs that start from an image: see `noised`. */
  readonly initNoiseSigma: number;
  /** Number of tensors to be kept between steps beside the sample. */
  readonly historySlots: number;
  /** Predicted clean samples are clamped to ±this. */
  readonly clampX0: number | undefined;
  /** Noise tensors drawn in the whole run. */
  readonly noiseDraws: number;
  readonly steps: readonly SamplerStep[];
}

/** What a caller may ask of one run. */
export interface SamplerOptions {
  /** Denoising steps; second-order samplers call the model about twice a step. */
  readonly numInferenceSteps?: number;
  /** Explicit timesteps instead of `numInferenceSteps`, for samplers that take them. */
  readonly timesteps?: readonly number[];
  /** Explicit noise levels instead of `numInferenceSteps`, for samplers that take them. */
  readonly sigmas?: readonly number[];
  /** Image-to-image: which share of the steps runs, 0 to 1. */
  readonly strength?: number;
  /** First inference step that runs. Takes the place of `strength`. */
  readonly startStep?: number;
  /** LCM and TCD: share of the training schedule that steps are taken from, as diffusers' LCM image-to-image does. */
  readonly scheduleStrength?: number;
  /** LCM and TCD: length of the training schedule, in place of the config's. */
  readonly originalInferenceSteps?: number;
  /** DDIM: 0 is deterministic, 1 is DDPM. TCD: the paper's γ, 0.3 where not given. */
  readonly eta?: number;
  /** Flow matching with dynamic shift: the shift itself. */
  readonly mu?: number;
  /** Flow matching with dynamic shift: image tokens, from which `mu` is computed. */
  readonly imageSeqLen?: number;
  /** Euler: stochastic churn of Karras et al., algorithm 2. */
  readonly churn?: {
    readonly amount: number;
    readonly min?: number;
    readonly max?: number;
    readonly noise?: number;
  };
}

/** A noise schedule and its integrator, made from a config. */
export interface Sampler {
  /** Friendly name: `ddim`, `euler-ancestral`, … */
  readonly name: string;
  /** diffusers' class name. */
  readonly className: string;
  readonly config: SchedulerConfig;
  /** Whether it integrates a flow (σ from 1 to 0, `x = (1 − σ)·x0 + σ·noise`) or a diffusion. */
  readonly kind: 'diffusion' | 'flow';
  readonly predictionType: PredictionType;
  /** Model calls an inference step takes, as diffusers counts them (`scheduler.order`). */
  readonly callsPerStep: 1 | 2;
  /** Computes a run. Pure, float64, takes well under a millisecond. */
  plan(options: SamplerOptions): SamplerPlan;
}

/** How a sampler is made. Register your own with `registerSampler`. */
export interface SamplerDefinition {
  /** Friendly names; the first is the sampler's name. */
  readonly names: readonly [string, ...string[]];
  /** Class name that a `scheduler_config.json` carries in `_class_name`. */
  readonly className: string;
  /** Fields that its configs have and diffusers' have not. */
  readonly fields?: readonly string[];
  create(config: SchedulerConfig): Sampler;
}
