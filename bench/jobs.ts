import type { Page } from '@calotype/dev/playwright';
import type { FlagSet } from '@calotype/dev/chromium';
import { correctnessCases, speedCases, type KernelCase } from './kernels/cases.ts';
import type { KernelRow } from './kernels/types.ts';
import { requestsScenarios, type RequestsRow } from './requests-types.ts';
import {
  coldStarts,
  graphScenarios,
  pictureScenarios,
  type ColdStart,
  type GraphScenario,
} from './scenarios.ts';
import type { BenchOptions, BenchPage, EngineName, Measured, Measurement, OrtSettings } from './types.ts';

declare const calotypeBench: BenchPage;

export const groups = ['graphs', 'pictures', 'cold-start', 'kernels', 'requests'] as const;

export type Group = (typeof groups)[number];

export interface JobOptions extends BenchOptions {
  /** Kernels: which variants to try beside the one that the rules choose, as a regular expression. */
  variants: string | undefined;
}

/** What a job may ask of the runner. */
export interface JobContext {
  options: JobOptions;
  /** A page; jobs that name the same one share it, for what takes longest is the model. Others have theirs alone. */
  page: (shared?: string) => Promise<Page>;
  /** A page in a browser that has nothing cached. */
  coldPage: () => Promise<Page>;
  /** The result of work on a page, or an error that says what the page was at. */
  within: <T>(seconds: number, page: Page, work: Promise<T>) => Promise<T>;
  /** Ends the browser with all its pages, where one may hang. */
  endBrowser: () => Promise<void>;
  /** Sees to a folder of a full-size model with its weights under `/made/`. */
  makeFolder: (model: 'sd15') => Promise<void>;
}

export interface Outcome {
  measurements?: Measurement[];
  requests?: RequestsRow;
  /** What to say beside the measurements. */
  said?: string[];
  /** What is wrong with the measurements, and fails the bench. */
  wrong?: string[];
}

/** A scenario that is measured in one piece: whatever goes wrong in it leaves the others alone. */
export interface Job {
  scenario: string;
  engine: EngineName;
  group: Group;
  limitSeconds: number;
  run(context: JobContext): Promise<Outcome>;
}

/** All that can be measured under these flags. */
export function jobsFor(flags: FlagSet): Job[] {
  return [
    ...graphScenarios(flags).map(graphJob),
    ...graphScenarios(flags)
      .filter(({ weights }) => !weights)
      .map(ortJob),
    ...pictureScenarios(flags).map((scenario): Job => ({
      scenario: scenario.name,
      engine: 'calotype',
      group: 'pictures',
      limitSeconds: 90,
      async run({ page, options }) {
        const opened = await page(scenario.model);
        return only(
          await opened.evaluate(([item, o]) => calotypeBench.runPictures(item, o), [
            scenario,
            options,
          ] as const),
        );
      },
    })),
    ...coldStarts(flags).map(coldJob),
    ...(flags === 'software' ? correctnessCases.slice(0, 4) : correctnessCases).map((item) =>
      kernelJob(item, false),
    ),
    ...(flags === 'software' ? [] : speedCases).map((item) => kernelJob(item, true)),
    ...requestsScenarios(flags).map((scenario): Job => ({
      scenario: scenario.name,
      engine: 'calotype',
      group: 'requests',
      // Frames are watched with three loads.
      limitSeconds: 'what' in scenario && scenario.what === 'frames' ? 300 : 120,
      async run({ page, options }) {
        if ('what' in scenario) {
          const wanted = [scenario, options] as const;
          if (scenario.what === 'frames') {
            const quiet = await page();
            return only(await quiet.evaluate(([item, o]) => calotypeBench.runFrames(item, o), wanted));
          }
          const opened = await page('requests');
          return only(await opened.evaluate(([item, o]) => calotypeBench.runControl(item, o), wanted));
        }
        const opened = await page('requests');
        const wanted = [scenario, options] as const;
        const requests = await opened.evaluate(([item, o]) => calotypeBench.runRequests(item, o), wanted);
        return { requests };
      },
    })),
  ];
}

function only(measurement: Measurement): Outcome {
  return { measurements: [measurement] };
}

/** Largest relative L2 against float32, beyond which a result is wrong. */
function toleranceOf(precision: string): number {
  return precision === 'f32' ? 1e-4 : 2e-2;
}

function graphJob(scenario: GraphScenario): Job {
  return {
    scenario: scenario.name,
    engine: 'calotype',
    group: 'graphs',
    limitSeconds: 90,
    async run({ page, options }) {
      const opened = await page();
      const found = await opened.evaluate(([item, o]) => calotypeBench.runGraph(item, o), [
        scenario,
        options,
      ] as const);
      return { measurements: [found], wrong: wrongWith(scenario, found.row) };
    },
  };
}

/** How far apart memory measured and planned may be, as a share of what is planned. */
const MEMORY_TOLERANCE = 0.02;

function wrongWith(
  { weights, maxWeightBytes = Infinity }: GraphScenario,
  { precision, relativeL2, weightBytes, peakBytes, plannedBytes }: Measured,
): string[] {
  const wrong: string[] = [];
  const most = toleranceOf(precision);
  // Weights of few bits give another network.
  if (!weights && relativeL2 !== null && !(relativeL2 <= most))
    wrong.push(`relative L2 ${relativeL2}, at most ${most} is allowed`);
  if (!(weightBytes! <= maxWeightBytes))
    wrong.push(`weights take ${weightBytes} bytes, at most ${maxWeightBytes} are allowed`);
  const error = peakBytes! / plannedBytes! - 1;
  if (!(Math.abs(error) <= MEMORY_TOLERANCE))
    wrong.push(
      `its peak of ${peakBytes} bytes is ${(100 * error).toFixed(1)} % off the ${plannedBytes} planned`,
    );
  return wrong;
}

/** Settings of onnxruntime-web, the most promising first. */
const ortSettings: readonly OrtSettings[] = [
  { preferredLayout: 'NHWC', enableGraphCapture: true },
  { preferredLayout: 'NHWC', enableGraphCapture: false },
  { preferredLayout: 'NHWC', enableGraphCapture: false, castNorms: true },
  { preferredLayout: 'NCHW', enableGraphCapture: false },
];

/** The first settings that a session can be made with. */
function ortJob(scenario: GraphScenario): Job {
  return {
    scenario: scenario.name,
    engine: 'onnxruntime-web',
    group: 'graphs',
    limitSeconds: 120,
    async run({ page, options }) {
      const refused: string[] = [];
      for (const settings of ortSettings) {
        const opened = await page();
        try {
          return only(
            await opened.evaluate(([item, s, o]) => calotypeBench.runOrt(item, s, o), [
              scenario,
              settings,
              options,
            ] as const),
          );
        } catch (error) {
          const { preferredLayout, enableGraphCapture, castNorms } = settings;
          const text = messageOf(error);
          // No settings change what the browser lacks.
          if (text.includes('shader-f16')) throw error;
          await opened.close();
          refused.push(
            `${preferredLayout}${enableGraphCapture ? ' with graph capture' : ''}${castNorms ? ' with norms cast' : ''}: ${text}`,
          );
        }
      }
      throw new Error(refused.join('; '));
    },
  };
}

function coldJob(scenario: ColdStart): Job {
  return {
    scenario: scenario.name,
    engine: 'calotype',
    group: 'cold-start',
    // Two gigabytes of weights are written first.
    limitSeconds: 600,
    async run({ coldPage, makeFolder, options }) {
      if (scenario.model === 'sd15') await makeFolder('sd15');
      const page = await coldPage();
      return only(
        await page.evaluate(([item, o]) => calotypeBench.runColdStart(item, o), [scenario, options] as const),
      );
    },
  };
}

/** Largest relative L2 that a kernel may have: f16 operands and results, f32 sums. */
const KERNEL_TOLERANCE = 2e-3;

/** Variants that are compiled at once, and how long that and their runs may take: some compile for minutes. */
const BATCH = 8;
const BATCH_SECONDS = 40;

function kernelJob(item: KernelCase, time: boolean): Job {
  return {
    scenario: `kernel/${item.name}`,
    engine: 'calotype',
    group: 'kernels',
    limitSeconds: 600,
    async run(context) {
      const { precision, variants: pattern } = context.options;
      const first = await context.page('kernels');
      const names = await first.evaluate(
        ([which, stored, p]) => calotypeBench.kernels.variants(which, stored, p),
        [item, precision, pattern] as const,
      );
      const rows: KernelRow[] = [];
      for (let start = 0; start < names.length; start += BATCH) {
        const batch = names.slice(start, start + BATCH);
        const page = await context.page('kernels');
        const work = page.evaluate(([which, some, o]) => calotypeBench.kernels.run(which, some, o), [
          item,
          batch,
          { precision, time },
        ] as const);
        try {
          rows.push(...(await context.within(BATCH_SECONDS, page, work)));
        } catch (error) {
          const text = messageOf(error);
          rows.push(...batch.map((variant) => ({ variant, relativeL2: NaN, error: text })));
          await context.endBrowser();
        }
      }
      return {
        measurements: rows.flatMap((row, i) => kernelMeasurement(item, row, i === 0, context.options)),
        said: rows.map(
          ({ variant, relativeL2 }) => `${item.name}: relative L2 ${relativeL2.toExponential(1)}, ${variant}`,
        ),
        wrong: rows.flatMap(({ variant, relativeL2, error }) =>
          relativeL2 <= KERNEL_TOLERANCE ? [] : [`${variant}: relative L2 ${relativeL2} ${error ?? ''}`],
        ),
      };
    },
  };
}

/** A kernel's row; none where only its results were looked at. The rules' choice has the case's own name. */
function kernelMeasurement(
  item: KernelCase,
  { variant, microseconds, relativeL2, teraflops, gigabytes }: KernelRow,
  isRule: boolean,
  { flags, precision }: JobOptions,
): Measurement[] {
  if (microseconds === undefined) return [];
  const ms = microseconds / 1000;
  return [
    {
      row: {
        scenario: `kernel/${item.name}${isRule ? '' : `/${variant.split(' ')[0]}`}`,
        engine: 'calotype',
        flags,
        precision,
        medianMs: ms,
        minMs: ms,
        maxMs: ms,
        runs: 1,
        relativeL2,
        peakBytes: null,
        dispatches: null,
        teraflops: teraflops!,
        gigabytesPerSecond: gigabytes!,
        settings: variant,
      },
    },
  ];
}

/** What went wrong, without Playwright's words around it. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replace(/^page\.evaluate: /, '')
    .split('\n    at ')[0]!
    .slice(0, 600);
}
