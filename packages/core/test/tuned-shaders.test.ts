import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Graph } from '../src/graph/graph.ts';
import type { AttentionChoice } from '../src/kernels/attention/choose.ts';
import type { GemmChoice } from '../src/kernels/gemm/choose.ts';
import type { KernelTuning } from '../src/kernels/tuning.ts';
import type { Capabilities } from '../src/plan/capabilities.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { WeightFormat } from '../src/plan/weight-format.ts';
import { candidatesFor } from '../src/tuning/candidates.ts';
import { probeOf } from '../src/tuning/probe.ts';
import { recording, type PlannedProblem } from '../src/tuning/problems.ts';
import type { Browser } from './browsers.ts';
import { describeBrowsers, KernelCheck } from './null-device.ts';
import { fullSizeGraph } from './whole-graphs.ts';

// What `tune` may choose in place of the rules' kernels has to compile too: in a graph, and alone, as it is timed.

const graph = fullSizeGraph('sd15-unet-fp16');

/** The products and attentions of a graph, each kind once. */
function problemsOf(planned: Graph, browser: Browser, weights: WeightFormat): PlannedProblem[] {
  const found = new Map<string, { planned: PlannedProblem; count: number }>();
  planGraph(planned, { ...browser, weights, tuning: recording(found) });
  return [...found.values()].map((problem) => problem.planned);
}

/** Takes the nth candidate for every problem that has so many. */
function nthCandidate(n: number, capabilities: Capabilities): KernelTuning {
  return {
    gemm: (problem, rule) =>
      (candidatesFor({ kind: 'gemm', problem, rule }, capabilities)[n] as GemmChoice | undefined) ?? rule,
    attention: (problem, rule) =>
      (candidatesFor({ kind: 'attention', problem, rule }, capabilities)[n] as AttentionChoice | undefined) ??
      rule,
  };
}

await describeBrowsers((browser, name) => {
  const { capabilities, precision } = browser;
  // In f32 arithmetic the rules take tiles enough: `native-shaders.test.ts` compiles those with integers.
  const formats: WeightFormat[] = name === 'experimental' ? ['as-stored', 'int4'] : ['as-stored'];
  let check: KernelCheck;

  beforeAll(async () => {
    check = await KernelCheck.create(capabilities);
  });

  afterAll(() => {
    console.info(`${name}: ${check.size} kernels`);
    check.dispose();
  });

  const title = 'takes every kernel that tuning may choose for SD 1.5 with weights %s';
  test.each(formats)(title, { timeout: 120_000 }, async (weights) => {
    const problems = problemsOf(await graph, browser, weights);
    const counts = problems.map((planned) => candidatesFor(planned, capabilities).length);
    expect(Math.max(...counts)).toBeGreaterThan(0);
    for (let n = 0; n < Math.max(...counts); n++) {
      const tuning = nthCandidate(n, capabilities);
      expect(await check.plan(planGraph(await graph, { ...browser, weights, tuning }))).toEqual([]);
    }
  });

  // Apart from what finishes their results, these are the kernels from above: once is enough.
  if (name !== 'experimental') return;
  test('takes what is timed', { timeout: 120_000 }, async () => {
    for (const planned of problemsOf(await graph, browser, 'as-stored')) {
      for (const choice of [planned.rule, ...candidatesFor(planned, capabilities)]) {
        const { plan } = probeOf(planned, choice, capabilities, precision);
        expect(await check.plan(plan)).toEqual([]);
      }
    }
  });
});
