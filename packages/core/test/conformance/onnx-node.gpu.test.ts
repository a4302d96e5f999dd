import { expect, test } from 'vitest';
import { commands } from 'vitest/browser';
import { createSession } from '../../src/session.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { lookup } from '../../src/ops/registry.ts';
import { pageEngine } from '../engine.ts';
import { nameExpanded, runCase, type CaseFiles, type Outcome } from './case.ts';
import { knownFailures } from './known-failures.ts';
import { report } from './report.ts';

const base = '/fixtures/onnx-node';

/** Runs only the tests whose names match, without writing the report: for work on one operator. */
const only =
  (import.meta as ImportMeta & { env: Record<string, string | undefined> }).env['VITE_ONNX_NODE'] ?? '';

async function bytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(`${base}/${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function load(name: string): Promise<CaseFiles> {
  const [model, reference] = await Promise.all([
    bytes(`${name}/model.onnx`),
    bytes(`${name}/reference.safetensors`),
  ]);
  return { name, model, reference };
}

async function runAll(names: readonly string[]): Promise<Outcome[]> {
  const engine = await pageEngine();
  // onnxruntime forgets its pipelines with its last session, and the losses are the same eight kernels 80 times.
  using kept = await createSession(await bytes('test_det_2d/model.onnx'), { engine, precision: 'f32' });
  const { y } = await kept.run({ x: new Tensor('float32', [2, 2], Float32Array.of(1, 2, 3, 4)) });
  y!.dispose();
  const outcomes: Outcome[] = [];
  let next = load(names[0]!);
  for (let k = 0; k < names.length; k++) {
    const files = await next;
    if (k + 1 < names.length) next = load(names[k + 1]!);
    outcomes.push(await runCase(files, engine));
  }
  nameExpanded(outcomes);
  return outcomes;
}

test("ONNX's node tests", { timeout: 900_000 }, async () => {
  const names = (await (await fetch(`${base}/index.json`)).json()) as string[];
  const outcomes = await runAll(names.filter((name) => new RegExp(only).test(name)));
  const failed = outcomes.filter(({ result }) => result !== 'passed');
  console.log(
    [
      `onnx-node: ${outcomes.length - failed.length} of ${outcomes.length} passed`,
      ...failed.map(({ test, op, reason }) => `  ${test} (${op}): ${reason}`),
    ].join('\n'),
  );
  const expected = names.filter((name) => knownFailures.has(name) && new RegExp(only).test(name));
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
