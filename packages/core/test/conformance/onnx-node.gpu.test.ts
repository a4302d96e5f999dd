import { expect, test } from 'vitest';
import { commands } from 'vitest/browser';
import { unpackNodeTests, type NodeTestFiles } from '@calotype/dev/onnx-node';
import { createSession } from '../../src/session.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { lookup } from '../../src/ops/registry.ts';
import { pageEngine } from '../engine.ts';
import { nameExpanded, runCase, type Outcome } from './case.ts';
import { knownFailures } from './known-failures.ts';
import { report } from './report.ts';

/** Runs only the tests whose names match, without writing the report: for work on one operator. */
const only =
  (import.meta as ImportMeta & { env: Record<string, string | undefined> }).env['VITE_ONNX_NODE'] ?? '';

async function runAll(
  tests: readonly NodeTestFiles[],
  byFallback: Uint8Array<ArrayBuffer>,
): Promise<Outcome[]> {
  const engine = await pageEngine();
  // onnxruntime forgets its pipelines with its last session, and the losses are the same eight kernels 80 times.
  using kept = await createSession(byFallback, { engine, precision: 'f32' });
  const { y } = await kept.run({ x: new Tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4)) });
  y!.dispose();
  const outcomes: Outcome[] = [];
  for (const files of tests) outcomes.push(await runCase(files, engine));
  nameExpanded(outcomes);
  return outcomes;
}

test("ONNX's node tests", { timeout: 900_000 }, async () => {
  const response = await fetch('/fixtures/onnx-node.tar');
  const all = await unpackNodeTests(new Uint8Array(await response.arrayBuffer()));
  const tests = all.filter(({ name }) => new RegExp(only).test(name));
  const outcomes = await runAll(tests, all.find(({ name }) => name === 'test_det_2d')!.model);
  const failed = outcomes.filter(({ result }) => result !== 'passed');
  console.log(
    [
      `onnx-node: ${outcomes.length - failed.length} of ${outcomes.length} passed`,
      ...failed.map(({ test, op, reason }) => `  ${test} (${op}): ${reason}`),
    ].join('\n'),
  );
  const expected = tests.map(({ name }) => name).filter((name) => knownFailures.has(name));
  if (only === '') {
    expect(outcomes).toHaveLength(1507);
    await commands.writeFile('docs/operators.md', report(outcomes, knownFailures));
  }
  expect(failed.map(({ test }) => test)).toEqual(expected);
  const foreign = outcomes.filter(({ op, path }) => path === 'fallback' && lookup('', op));
  expect(
    foreign.map(({ test }) => test),
    'run by onnxruntime although there are kernels',
  ).toEqual([]);
});
