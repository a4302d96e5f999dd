import { operatorsOf } from '../../src/ops/registry.ts';
import type { Outcome, Path } from './case.ts';

// Makes docs/operators.md of a run. Nothing in it may change from run to run.

/** Tests of one operator. */
interface Row {
  op: string;
  opsets: number[];
  outcomes: Outcome[];
}

const paths: readonly Path[] = ['WebGPU kernel', 'folded', 'fallback'];

/**
 * The page as Markdown.
 *
 * @param reasons in words of ours, by test, why one does not pass
 */
export function report(outcomes: readonly Outcome[], reasons: ReadonlyMap<string, string>): string {
  const rows = rowsOf(outcomes);
  const passed = outcomes.filter(({ result }) => result === 'passed');
  const byPath = paths.map((path) => `${passed.filter((o) => o.path === path).length} by ${path}`);
  return `# Operators

Written by \`packages/core/test/conformance/onnx-node.gpu.test.ts\`; do not edit. It runs ONNX's own node tests through
\`createSession\`, as an application would, in f32 on SwiftShader. A test passes when dtypes and shapes are equal, integers
are equal, and floats are within 0.1 % (ONNX's own tolerance) or 1e-6; float16 within 0.2 % or 1e-3.

**${passed.length} of ${outcomes.length} tests pass**: ${byPath.join(', ')}.

- *WebGPU kernel*: dispatches of ours, or views that need none.
- *folded*: known before anything runs, computed on the CPU when the graph is specialized.
- *fallback*: run by onnxruntime-web between our dispatches, on the same device where it has kernels for it.

## ONNX

\`*_expanded\` tests (an operator written out as others) count for the operator that they write out.

| Operator | Opsets tested | Passed | Path | Remarks |
| --- | --- | --- | --- | --- |
${rows.map(printRow).join('\n')}

## Defined beyond the tests

- ONNX: ${untested(rows).join(', ')}
- \`com.microsoft\`: ${operatorsOf('com.microsoft').toSorted().join(', ')}

## Tests that do not pass

${failures(outcomes, reasons)}
`;
}

function rowsOf(outcomes: readonly Outcome[]): Row[] {
  const rows = new Map<string, Row>();
  for (const outcome of outcomes) {
    const row = rows.get(outcome.op) ?? { op: outcome.op, opsets: [], outcomes: [] };
    rows.set(outcome.op, row);
    row.outcomes.push(outcome);
    if (!outcome.expanded && !row.opsets.includes(outcome.opset)) row.opsets.push(outcome.opset);
  }
  return [...rows.values()].toSorted((a, b) => (a.op < b.op ? -1 : 1));
}

function printRow({ op, opsets, outcomes }: Row): string {
  const own = outcomes.filter(({ expanded }) => !expanded);
  const of = (list: readonly Outcome[]): string =>
    `${list.filter(({ result }) => result === 'passed').length}/${list.length}`;
  const expanded = outcomes.filter((o) => o.expanded);
  const counts = [of(own), ...(expanded.length > 0 ? [`expanded ${of(expanded)}`] : [])].join(', ');
  const used = paths.filter((path) => own.some((o) => o.path === path && o.result === 'passed'));
  const foreign = own.filter((o) => o.path === 'fallback' && o.result === 'passed');
  const remarks = unique(foreign.map(({ reason }) => reason));
  return `| ${op} | ${opsets.toSorted((a, b) => a - b).join(', ')} | ${counts} | ${used.join(', ') || '-'} | ${remarks.join('; ')} |`;
}

function untested(rows: readonly Row[]): string[] {
  const tested = new Set(rows.map(({ op }) => op));
  return operatorsOf('')
    .filter((op) => !tested.has(op))
    .toSorted();
}

function failures(outcomes: readonly Outcome[], known: ReadonlyMap<string, string>): string {
  const byReason = new Map<string, string[]>();
  for (const { result, reason, test } of outcomes) {
    if (result === 'passed') continue;
    const why = known.get(test) ?? reason;
    byReason.set(why, [...(byReason.get(why) ?? []), test.replace(/^test_/, '')]);
  }
  return [...byReason]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, tests]) => `- ${reason}: ${tests.join(', ')}`)
    .join('\n');
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)];
}
