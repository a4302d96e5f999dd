import { readSafetensors, type SafetensorsDtype } from '@calotype/dev/safetensors';
import { CalotypeError, UnsupportedOpError } from '../../src/errors.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import type { Model } from '../../src/onnx/model.ts';
import { readModel } from '../../src/onnx/reader.ts';
import { toNumbers } from '../../src/onnx/elements.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { createSession } from '../../src/session.ts';
import { mapStore } from '../../src/source/map-store.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { Tensor, type NumericType } from '../../src/tensor/tensor.ts';

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

/** One test's files. */
export interface CaseFiles {
  name: string;
  model: Uint8Array<ArrayBuffer>;
  reference: Uint8Array<ArrayBuffer>;
}

interface Reference {
  dtype: NumericType;
  shape: number[];
  bytes: Uint8Array;
}

/** Runs one of ONNX's node tests through a session, as an application would. Throws for nothing that the test does. */
export async function runCase(files: CaseFiles, engine: Engine): Promise<Outcome> {
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

async function runModel(files: CaseFiles, engine: Engine, outcome: Outcome): Promise<void> {
  const references = readReferences(files.reference);
  const session = await createSession(files.model, { engine, precision: 'f32' });
  try {
    const feeds: Record<string, Tensor> = {};
    for (const { name, shape } of session.inputs) {
      const reference = references.get(name);
      if (!reference) throw new Error(`the test holds no input '${name}'`);
      feeds[name] = tensorOf(reference, shape?.length === 0);
    }
    const plan = await session.plan(feeds);
    outcome.path = pathOf(plan);
    const results = await session.run(feeds);
    const differences: string[] = [];
    for (const { name, shape } of session.outputs) {
      const expected = references.get(name);
      const actual = results[name];
      if (expected && actual)
        differences.push(...(await difference(name, actual, expected, shape?.length === 0)));
      actual?.dispose();
    }
    outcome.result = differences.length === 0 ? 'passed' : 'failed';
    outcome.reason = differences.length > 0 ? differences.join('; ') : islandReason(plan);
  } finally {
    session.dispose();
  }
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
  return plan.steps.length > 0 || plan.inputs.size > 0 ? 'WebGPU kernel' : 'folded';
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

const dtypeNames: Readonly<Record<SafetensorsDtype, NumericType>> = {
  BOOL: 'bool', U8: 'uint8', I8: 'int8', U16: 'uint16', I16: 'int16', F16: 'float16', BF16: 'bfloat16',
  U32: 'uint32', I32: 'int32', F32: 'float32', U64: 'uint64', I64: 'int64', F64: 'float64',
}; // prettier-ignore

function readReferences(bytes: Uint8Array): Map<string, Reference> {
  const references = new Map<string, Reference>();
  for (const [name, { dtype, shape, data }] of readSafetensors(bytes)) {
    references.set(name, { dtype: dtypeNames[dtype], shape, bytes: data });
  }
  return references;
}

/** @param isScalar the references have no scalars: those are stored as tensors of one element */
function tensorOf({ dtype, shape, bytes }: Reference, isScalar: boolean): Tensor {
  return Tensor.from(dtype, isScalar ? [] : shape, toNumbers(dtype, bytes, sizeOf(shape)));
}

/**
 * Relative tolerance as in ONNX's own runner: some references are written down with four digits. The absolute one is
 * f32's precision for sums near 1.
 */
const tolerances: Partial<Record<DataType, { relative: number; absolute: number }>> = {
  float32: { relative: 1e-3, absolute: 1e-6 },
  float16: { relative: 2e-3, absolute: 1e-3 },
};

/** What is wrong with a result, in words; nothing when it is right. */
async function difference(
  name: string,
  actual: Tensor,
  expected: Reference,
  isScalar: boolean,
): Promise<string[]> {
  const shape = isScalar ? [] : expected.shape;
  if (actual.dtype !== expected.dtype) return [`'${name}' is ${actual.dtype}, not ${expected.dtype}`];
  if (String(actual.shape) !== String(shape)) return [`'${name}' is [${actual.shape}], not [${shape}]`];
  const data = await actual.data();
  const count = sizeOf(shape);
  const got = toNumbers(actual.dtype, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), count);
  const want = toNumbers(expected.dtype, expected.bytes, count);
  const { relative, absolute } = tolerances[expected.dtype] ?? { relative: 0, absolute: 0 };
  let wrong = 0;
  let first = '';
  for (let i = 0; i < count; i++) {
    // Also both NaN, and infinities of one sign.
    if (Object.is(got[i], want[i])) continue;
    if (Math.abs(got[i]! - want[i]!) <= absolute + relative * Math.abs(want[i]!)) continue;
    wrong++;
    first ||= `[${i}] is ${got[i]}, not ${want[i]}`;
  }
  return wrong === 0 ? [] : [`'${name}': ${wrong} of ${count} elements are wrong, ${first}`];
}
