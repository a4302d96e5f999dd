import type { Precision } from '@calotype/core';
import type { FlagSet } from '@calotype/dev/chromium';

/**
 * How several requests are served: `stacked` one after the other, as a library without a scheduler does; `pipelined` with
 * the stages of several interleaved; `batched` with steps shared too.
 */
export const modes = ['stacked', 'pipelined', 'batched'] as const;

export type Mode = (typeof modes)[number];

/** Requests to one model, of which a fixed number is under way at any time: each that is done is followed by another. */
export interface RequestsScenario {
  name: string;
  /** Pocket, which comes with this library, or Stable Diffusion 1.5 of full size with hash-filled weights. */
  model: 'pocket' | 'sd15';
  /** Pixels along each axis. */
  size: number;
  steps: number;
  /** How many are under way. */
  requests: number;
  mode: Mode;
}

/** One measurement of concurrent requests, as `bench/results` holds it. */
export interface RequestsRow extends RequestsScenario {
  engine: 'calotype';
  flags: FlagSet;
  precision: Precision;
  imagesPerSecond: number;
  /** From submission to picture. */
  latencyP50Ms: number;
  latencyP95Ms: number;
  /** Part of the time in which the GPU had nothing to do: by its own clock where the browser has `timestamp-query`. */
  gpuIdleShare: number;
  /** Whether that is by the GPU's own clock. */
  clocked: boolean;
  /** Mean number of requests in a denoising step. */
  jobsPerStep: number;
  /** Pictures made. */
  images: number;
  /** Pictures that held NaN, which random weights may give; they count as made. */
  overflowed: number;
}

const counts = [1, 2, 4, 8];

/**
 * What `npm run bench -- --only requests` measures: a model whose step leaves most of a large card idle; with the endings
 * `-sd15-256` and `-sd15-512` one of full size, whose step does so at the first size and not at the second. The software adapter
 * gets the first model, small.
 */
export function requestsScenarios(flags: FlagSet): RequestsScenario[] {
  const models =
    flags === 'software'
      ? [{ model: 'pocket', size: 64, steps: 2, suffix: '' } as const]
      : [
          { model: 'pocket', size: 256, steps: 20, suffix: '' } as const,
          { model: 'sd15', size: 256, steps: 10, suffix: '-sd15-256' } as const,
          { model: 'sd15', size: 512, steps: 10, suffix: '-sd15-512' } as const,
        ];
  return models.flatMap(({ suffix, ...rest }) =>
    modes.flatMap((mode) =>
      counts.map((requests) => ({ ...rest, mode, requests, name: `requests-${requests}-${mode}${suffix}` })),
    ),
  );
}
