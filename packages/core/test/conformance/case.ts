import type { NodeTestFiles } from '@calotype/dev/onnx-node';
import { CalotypeError, UnsupportedOpError } from '../../src/errors.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import type { Model } from '../../src/onnx/model.ts';
import { readModel } from '../../src/onnx/reader.ts';
import { toNumbers } from '../../src/onnx/elements.ts';
import type { CpuTensor } from '../../src/ops/op.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { createSession } from '../../src/session.ts';
import { mapStore } from '../../src/source/map-store.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { declaredAs, differences, readReferences } from './reference.ts';

/** How a test was computed. */
export type Path = 'WebGPU kernel' | 'folded' | 'fallback';

export interface Outcome {
  test: string;
  /** The operator that the test is about: of an expanded test, the one that it writes out. */
  op: string;
  opset: number;
  /** Whether it is an operator written out as others. */
  expanded: boolean;
  result: 'passed' | 'failed' | 'unsupported';
  path: Path | undefined;
  /** Why it did not pass, or why onnxruntime had to run it. */
  reason: string;
}

/** Runs one of ONNX's node tests through a session, as an application would. Throws for nothing that the test does. */
export async function runCase(files: NodeTestFiles, engine: Engine): Promise<Outcome> {
  const model = await readModel(mapStore({ 'model.onnx': files.model }), 'model.onnx');
  const outcome = describe(files.name, model);
  try {
    await runModel(files, engine, outcome);
  } catch (error) {
    outcome.result = error instanceof UnsupportedOpError ? 'unsupported' : 'failed';
    outcome.reason = reasonOf(error);
  }
  return outcome;
}

async function runModel(files: NodeTestFiles, engine: Engine, outcome: Outcome): Promise<void> {
  const references = readReferences(files.reference);
  const session = await createSession(files.model, { engine, precision: 'f32' });
  try {
    const feeds: Record<string, Tensor> = {};
    for (const { name, shape } of session.inputs) {
      const reference = references.get(name);
      if (!reference) throw new Error(`the test holds no input '${name}'`);
      const { dtype, data, shape: own } = declaredAs(reference, shape);
      feeds[name] = Tensor.from(dtype, own, data);
    }
    const results = await session.run(feeds);
    const plan = await session.plan(feeds);
    outcome.path = pathOf(plan);
    const wrong: string[] = [];
    for (const { name, shape } of session.outputs) {
      const expected = references.get(name);
      const actual = results[name];
      if (expected && actual)
        wrong.push(...differences(name, await numbersOf(actual), declaredAs(expected, shape)));
      actual?.dispose();
    }
    outcome.result = wrong.length === 0 ? 'passed' : 'failed';
    outcome.reason = wrong.length > 0 ? wrong.join('; ') : islandReason(plan);
  } finally {
    session.dispose();
  }
}

async function numbersOf(tensor: Tensor): Promise<CpuTensor> {
  const { dtype, shape } = tensor;
  const { buffer, byteOffset, byteLength } = await tensor.data();
  return {
    dtype,
    shape,
    data: toNumbers(dtype, new Uint8Array(buffer, byteOffset, byteLength), sizeOf(shape)),
  };
}

/** The last operator that computes something. */
function describe(test: string, model: Model): Outcome {
  const nodes = model.graph.nodes.filter(({ op }) => op !== 'Constant' && op !== 'Identity');
  const node = nodes.at(-1) ?? model.graph.nodes.at(-1);
  return {
    test,
    op: node ? (node.domain === '' ? node.op : `${node.domain}.${node.op}`) : 'none',
    opset: model.opsets.get(node?.domain ?? '') ?? 0,
    expanded: /_expanded(_|$)/.test(test),
    result: 'failed',
    path: undefined,
    reason: '',
  };
}

/** The same for expanded tests, from what the tests that they write out are about. */
export function nameExpanded(outcomes: readonly Outcome[]): void {
  const byName = new Map(outcomes.map((outcome) => [outcome.test, outcome]));
  for (const outcome of outcomes) {
    if (!outcome.expanded) continue;
    const original = byName.get(outcome.test.replace(/_expanded.*$/, ''));
    if (original) Object.assign(outcome, { op: original.op, opset: original.opset });
  }
}

function pathOf(plan: Plan): Path {
  if (plan.steps.some(({ kind }) => kind === 'island')) return 'fallback';
  return plan.steps.some(({ phase }) => phase !== 'load') || plan.inputs.size > 0
    ? 'WebGPU kernel'
    : 'folded';
}

function islandReason(plan: Plan): string {
  const reasons = plan.steps.flatMap((step) =>
    step.kind === 'island' ? step.operators.map(({ op, reason }) => `${op}: ${reason}`) : [],
  );
  return [...new Set(reasons)].join('; ');
}

/** The same words at every run: no stacks, no paths of onnxruntime's sources. */
function reasonOf(error: unknown): string {
  if (error instanceof UnsupportedOpError) {
    return [...new Set(error.ops.map(({ op, reason }) => `${op}: ${reason.replace(/ \(.*$/s, '')}`))].join(
      '; ',
    );
  }
  if (error instanceof CalotypeError) return error.message.split('\n', 1)[0]!;
  return error instanceof Error ? `${error.name}: ${error.message.split('\n', 1)[0]}` : String(error);
}
