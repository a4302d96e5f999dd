import type { Precision } from '@calotype/core';
import type { FlagSet } from '@calotype/dev/chromium';

/**
 * How several requests are served: `stacked` one after the other, as a library without a scheduler does; `pipelined` with
 * the stages of several interleaved; `batched` with steps shared too.
 */
export const modes = ['stacked', 'pipelined', 'batched'] as const;

export type Mode = (typeof modes)[number];

/** Requests sent at the same time to one model. */
export interface RequestsScenario {
  name: string;
  /** `tiny-sd` of the fixtures, or Stable Diffusion 1.5 of full size with hash-filled weights. */
  model: 'tiny-sd' | 'sd15';
  /** Pixels along each axis. */
  size: number;
  steps: number;
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
  /** Part of the time under load in which the GPU had nothing to do. */
  gpuIdleShare: number;
  /** Mean number of requests in a denoising step. */
  jobsPerStep: number;
  /** Times that all requests were sent. */
  rounds: number;
  /** Pictures that held NaN, which random weights may give; they count as made. */
  overflowed: number;
}

const counts = [1, 2, 4, 8];

/** What `npm run bench -- --only requests` measures. The software adapter gets a tiny model. */
export function requestsScenarios(flags: FlagSet): RequestsScenario[] {
  const models =
    flags === 'software'
      ? [{ model: 'tiny-sd', size: 64, steps: 6, suffix: '' } as const]
      : [
          { model: 'sd15', size: 512, steps: 10, suffix: '' } as const,
          // A step of this size leaves most of a large card idle.
          { model: 'sd15', size: 256, steps: 10, suffix: '-256' } as const,
        ];
  return models.flatMap(({ suffix, ...rest }) =>
    modes.flatMap((mode) =>
      counts.map((requests) => ({ ...rest, mode, requests, name: `requests-${requests}-${mode}${suffix}` })),
    ),
  );
}
