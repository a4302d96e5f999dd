import { afterAll, beforeAll, expect, test } from 'vitest';
import { model } from '../../test/onnx-writer.ts';
import { addAndMultiply } from '../../test/tiny-models.ts';
import { random, runGraph, TestGraph } from '../../test/run-graph.ts';
import { Engine } from '../gpu/engine.ts';
import type { Value } from '../graph/graph.ts';
import { fmaTiles } from '../kernels/gemm/choose-fma.ts';
import type { GemmProblem } from '../kernels/gemm/problem.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import { probeOf } from './probe.ts';
import { gemmKey, recording, type PlannedProblem } from './problems.ts';
import { forgetTuning } from './table.ts';
import { createSession } from '../session.ts';
import { Tensor } from '../tensor/tensor.ts';
import { tune, tuneProblems } from './tune.ts';

let engine: Engine;
beforeAll(async () => {
  await forgetTuning();
  engine = await Engine.create({ precision: 'packed-f16' });
});
afterAll(async () => {
  engine.dispose();
  await forgetTuning();
});

/** A product as a network asks for it. */
function run(tuning: KernelTuning): ReturnType<typeof runGraph> {
  const graph = new TestGraph();
  const y = graph.node('MatMul', [
    graph.input('a', { shape: [64, 256], data: random(64 * 256, 1) }),
    graph.weight('b', { shape: [256, 8], data: random(256 * 8, 2) }),
  ]);
  return runGraph(graph, y, { engine, precision: 'packed-f16', tuning });
}

async function planned(): Promise<GemmProblem> {
  const found = new Map<string, { planned: PlannedProblem; count: number }>();
  await run(recording(found));
  const [only] = found.values();
  return only!.planned.problem as GemmProblem;
}

test('the fastest of several kernels is found, kept, and there on the next visit', async () => {
  const problem = await planned();
  const key = gemmKey(problem);
  const live = engine.buffers.liveBytes;
  const rule = { kind: 'fma', tile: fmaTiles.small, slices: 1 } as const;
  const problems = new Map([[key, { planned: { kind: 'gemm' as const, problem, rule }, count: 3 }]]);
  const report = await tuneProblems(engine, 'packed-f16', problems);
  expect(report).toMatchObject({ measured: 1, known: 0, left: 0, kept: true });
  expect(engine.buffers.liveBytes).toBe(live);
  const entry = engine.measured.get(key)!;
  expect(entry.milliseconds).toBeGreaterThan(0);
  expect(entry.milliseconds).toBeLessThanOrEqual(entry.ruleMilliseconds);
  const [only] = report.problems;
  expect(only).toMatchObject({ problem: key, count: 3 });
  expect(only!.tried.length).toBeGreaterThan(1);
  expect(only!.tried[only!.taken]!.milliseconds).toBe(entry.milliseconds);
  expect(only!.tried[0]!.milliseconds).toBe(entry.ruleMilliseconds);
  expect(engine.tuning.gemm!(problem, rule)).toEqual(entry.choice);

  expect(await tuneProblems(engine, 'packed-f16', problems)).toMatchObject({
    measured: 0,
    known: 1,
    problems: [],
  });
  const other = { kind: 'fma', tile: fmaTiles.narrow8, slices: 2 } as const;
  engine.measured.set(key, { ...entry, choice: other });
  const { plan } = await run(engine.tuning);
  expect(plan.tuned).toEqual([key]);
  expect(plan.steps.map((step) => step.kind === 'dispatch' && step.kernel.name)).toContain(
    'matmul_fma_128x8x16_partial',
  );
  using next = await Engine.create({ precision: 'packed-f16' });
  expect(next.measured.get(key)).toEqual(entry);
  using fresh = await Engine.create({ precision: 'packed-f16', measured: false });
  expect(fresh.measured.size).toBe(0);
});

test('weights of integers are timed as such, and known apart from floats', async () => {
  const graph = new TestGraph();
  const [w] = graph.node(
    'DequantizeLinear',
    [
      graph.weight('b', { dtype: 'int8', shape: [2048, 8], data: random(2048 * 8, 2).map((x) => 100 * x) }),
      graph.weight('scale', { shape: [8], data: random(8, 3) }),
    ],
    { axis: 1 },
  );
  const y = graph.node('MatMul', [graph.input('a', { shape: [64, 2048], data: random(64 * 2048, 1) }), w]);
  const found = new Map<string, { planned: PlannedProblem; count: number }>();
  await runGraph(graph, y, { engine, precision: 'packed-f16', tuning: recording(found) });
  const problem = [...found.values()][0]!.planned.problem as GemmProblem;
  const key = gemmKey(problem);
  expect(key).toContain('weight 1 int8');
  const rule = { kind: 'fma', tile: fmaTiles.small, slices: 1 } as const;
  const problems = new Map([[key, { planned: { kind: 'gemm' as const, problem, rule }, count: 1 }]]);
  const { problems: tuned } = await tuneProblems(engine, 'packed-f16', problems);
  const kernels = tuned[0]!.tried.map((each) => each.kernels);
  expect(kernels.length).toBeGreaterThan(1);
  expect(kernels.filter((name) => !name.includes('_q8'))).toEqual([]);
});

test('a session runs on after it; what is too small to be timed stays as it is', async () => {
  using session = await createSession(model(addAndMultiply), { engine });
  const x = new Tensor('float32', [1, 3], Float32Array.of(1, 1, 1));
  const report = await tune(session, { x });
  expect(report).toMatchObject({ measured: 0, known: 0, left: 0, problems: [] });
  const { y } = await session.run({ x });
  expect(Array.from((await y!.data()) as Float32Array)).toEqual([2, 3, 4]);
  y!.dispose();
});

test('no time is left', async () => {
  const problem = { ...(await planned()), rows: 63 };
  const rule = { kind: 'fma', tile: fmaTiles.small, slices: 1 } as const;
  const problems = new Map([
    [gemmKey(problem), { planned: { kind: 'gemm' as const, problem, rule }, count: 1 }],
  ]);
  const report = await tuneProblems(engine, 'packed-f16', problems, { seconds: 0 });
  expect(report).toMatchObject({ measured: 0, left: 1, problems: [] });
});

test('a product that reads two tensors is measured so', async () => {
  const graph = new TestGraph();
  const part = (name: string, width: number): Value => {
    const x = graph.input(name, { shape: [64, width], data: random(64 * width, width) });
    return graph.node('Add', [x, graph.constant([0], [])])[0]!;
  };
  const [joined] = graph.node('Concat', [part('x', 160), part('y', 96)], { axis: 1 });
  const b = graph.weight('b', { shape: [256, 8], data: random(256 * 8, 2) });
  const found = new Map<string, { planned: PlannedProblem; count: number }>();
  await runGraph(graph, graph.node('MatMul', [joined, b]), {
    engine,
    precision: 'packed-f16',
    tuning: recording(found),
  });
  const [key] = [...found.keys()];
  expect(key).toContain('two tensors');
  const { planned: problem } = found.get(key!)!;
  const { plan } = probeOf(problem, problem.rule, engine.capabilities, 'packed-f16');
  expect([...plan.inputs.keys()].toSorted()).toEqual(['a', 'a_second', 'b']);
  expect(await tuneProblems(engine, 'packed-f16', found)).toMatchObject({ measured: 1 });
});
