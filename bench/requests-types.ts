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

/**
 * What control costs: how long the GPU is still busy after eight requests were aborted at once (`aborts`), how long a picture
 * takes with a preview after every step, beside one without (`previews`), or the time from one of the page's frames to the next
 * while eight requests are under way in a worker (`frames`).
 */
export interface ControlScenario extends Pick<RequestsScenario, 'name' | 'model' | 'size' | 'steps'> {
  what: 'aborts' | 'previews' | 'frames';
}

const counts = [1, 2, 4, 8];

type Load = Pick<RequestsScenario, 'model' | 'size' | 'steps'> & { suffix: string };

/**
 * A model whose step leaves most of a large card idle; with the endings `-sd15-512` and `-sd15-256` one of full size, whose step does
 * not at the first size and does at the second. The software adapter gets the first model, small.
 */
function loads(flags: FlagSet): Load[] {
  if (flags === 'software') return [{ model: 'pocket', size: 64, steps: 2, suffix: '' }];
  return [
    { model: 'pocket', size: 256, steps: 20, suffix: '' },
    { model: 'sd15', size: 512, steps: 10, suffix: '-sd15-512' },
    { model: 'sd15', size: 256, steps: 10, suffix: '-sd15-256' },
  ];
}

/** What `npm run bench -- --only requests` measures, load by load: a row each, or what control costs. */
export function requestsScenarios(flags: FlagSet): (RequestsScenario | ControlScenario)[] {
  return loads(flags).flatMap(({ suffix, ...rest }) => [
    ...modes.flatMap((mode) =>
      counts.map((requests): RequestsScenario => ({
        ...rest,
        mode,
        requests,
        name: `requests-${requests}-${mode}${suffix}`,
      })),
    ),
    // A worker gets its model by address.
    ...(['aborts', 'previews', ...(rest.model === 'pocket' ? (['frames'] as const) : [])] as const).map(
      (what): ControlScenario => ({
        ...rest,
        what,
        name: `requests-${what}${suffix}`,
      }),
    ),
  ]);
}
