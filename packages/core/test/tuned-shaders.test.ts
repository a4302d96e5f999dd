import { afterAll, expect, test } from 'vitest';
import type { Graph } from '../src/graph/graph.ts';
import type { GemmChoice } from '../src/kernels/gemm/choose.ts';
import type { KernelTuning } from '../src/kernels/tuning.ts';
import type { Capabilities } from '../src/plan/capabilities.ts';
import type { Plan } from '../src/plan/plan.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { WeightFormat } from '../src/plan/weight-format.ts';
import { candidatesFor } from '../src/tuning/candidates.ts';
import { probeOf } from '../src/tuning/probe.ts';
import { recording, type PlannedProblem } from '../src/tuning/problems.ts';
import type { Browser } from './browsers.ts';
import { describeBrowsers, KernelCheck, type Refusal } from './null-device.ts';
import { fullSizeGraph } from './whole-graphs.ts';

// What `tune` may choose in place of the rules' kernels has to compile too: in a graph, and alone, as it is timed.

const graph = fullSizeGraph('sd15-unet-fp16');

/** A graph as the rules plan it, with its products and attentions, each kind once. */
function planned(
  of: Graph,
  browser: Browser,
  weights: WeightFormat,
): { plan: Plan; problems: PlannedProblem[] } {
  const found = new Map<string, { planned: PlannedProblem; count: number }>();
  const plan = planGraph(of, { ...browser, weights, tuning: recording(found) });
  return { plan, problems: [...found.values()].map((problem) => problem.planned) };
}

/** Takes the nth candidate for every product that has so many. */
function nthCandidate(n: number, capabilities: Capabilities): KernelTuning {
  return {
    gemm: (problem, rule) =>
      (candidatesFor({ kind: 'gemm', problem, rule }, capabilities)[n] as GemmChoice | undefined) ?? rule,
    attention: (_, rule) => rule,
  };
}

await describeBrowsers((browser, name) => {
  const { capabilities, precision } = browser;
  // In f32 arithmetic the rules take tiles enough: `native-shaders.test.ts` compiles those with integers.
  const formats: WeightFormat[] = name === 'experimental' ? ['as-stored', 'int4'] : ['as-stored'];
  const check = new KernelCheck(capabilities);

  afterAll(() => console.info(`${name}: ${check.size} kernels`));

  /** Refusals of all that may be chosen for each, as it is timed. */
  async function refusedAlone(problems: readonly PlannedProblem[]): Promise<Refusal[]> {
    const refusals: Refusal[] = [];
    for (const problem of problems) {
      for (const choice of [problem.rule, ...candidatesFor(problem, capabilities)]) {
        refusals.push(...(await check.plan(probeOf(problem, choice, capabilities, precision).plan)));
      }
    }
    return refusals;
  }

  const title = 'takes every kernel that tuning may choose for SD 1.5 with weights %s';
  test.each(formats)(title, { timeout: 120_000 }, async (weights) => {
    const { plan, problems } = planned(await graph, browser, weights);
    expect(await check.plan(plan)).toEqual([]);
    const products = problems.filter(({ kind }) => kind === 'gemm');
    const most = Math.max(...products.map((product) => candidatesFor(product, capabilities).length));
    expect(most).toBeGreaterThan(0);
    for (let n = 0; n < most; n++) {
      const tuning = nthCandidate(n, capabilities);
      expect(await check.plan(planGraph(await graph, { ...browser, weights, tuning }))).toEqual([]);
    }
    // Attentions are in a graph what they are alone, and have many times as many candidates.
    expect(await refusedAlone(problems.filter(({ kind }) => kind === 'attention'))).toEqual([]);
  });

  // Apart from what finishes their results, these are the kernels from above: once is enough.
  if (name !== 'experimental') return;
  test('takes what is timed', { timeout: 120_000 }, async () => {
    expect(await refusedAlone(planned(await graph, browser, 'as-stored').problems)).toEqual([]);
  });
});
