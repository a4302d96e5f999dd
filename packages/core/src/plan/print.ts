import type { BufferId, Phase, Plan, PlanBuffer, Step } from './plan.ts';
import { formatShape } from '../tensor/shape.ts';

const phases: readonly Phase[] = ['load', 'request', 'run'];

/**
 * A plan as text: a line a dispatch with its kernel, buffers and grid, then the buffers. Buffers are named by what is
 * in them: `i` inputs, `o` outputs, `w` weights as stored in the file, `c` constants, `p` packed at load, `b` shared
 * by intermediates.
 */
export function printPlan(plan: Plan): string {
  const names = nameBuffers(plan);
  const lines = [
    `plan ${plan.precision}: ${count(plan, 'run')} dispatches a run, ${count(plan, 'request')} a request, ${count(plan, 'load')} at load`,
    `peak ${formatBytes(plan.weightBytes + plan.intermediateBytes)}: weights ${formatBytes(plan.weightBytes)}, intermediates ${formatBytes(plan.intermediateBytes)}`,
  ];
  for (const phase of phases) {
    const steps = plan.steps.filter((step) => step.phase === phase);
    if (steps.length === 0) continue;
    const rows = steps.map((step) => row(step, names));
    lines.push(phase, ...columns(rows));
  }
  lines.push(
    'buffers',
    ...columns(plan.buffers.map((buffer, id) => [names[id]!, formatBytes(buffer.bytes), buffer.label])),
  );
  if (plan.joins.length > 0) {
    lines.push('joins', ...columns(plan.joins.map(({ name, copied }) => [name, copied ?? 'read as two'])));
  }
  for (const [what, views] of [
    ['inputs', plan.inputs],
    ['outputs', plan.outputs],
  ] as const) {
    const rows = [...views].map(([name, view]) => [
      names[view.buffer]!,
      `${view.dtype}${formatShape(view.shape)} as ${view.storage}`,
      name,
    ]);
    lines.push(what, ...columns(rows));
  }
  return lines.join('\n');
}

function row(step: Step, names: readonly string[]): string[] {
  const list = (ids: readonly BufferId[]): string => ids.map((id) => names[id]).join(' ');
  if (step.kind === 'island') {
    const inputs = step.inputs.map(({ view }) => view.buffer);
    const outputs = step.outputs.map(({ view }) => view.buffer);
    return ['onnxruntime', `${list(inputs)} → ${list(outputs)}`, '', step.label];
  }
  const { kernel, buffers, grid, label } = step;
  const reads = buffers.filter((_, i) => kernel.bindings[i] === 'read');
  const writes = buffers.filter((_, i) => kernel.bindings[i] === 'write');
  return [kernel.name, `${list(reads)} → ${list(writes)}`, grid.join('×'), label];
}

function nameBuffers({ buffers }: Plan): string[] {
  const next = new Map<string, number>();
  return buffers.map((buffer) => {
    const letter = letterOf(buffer);
    const number = next.get(letter) ?? 0;
    next.set(letter, number + 1);
    return `${letter}${number}`;
  });
}

function letterOf({ content, phase }: PlanBuffer): string {
  if (content.kind === 'computed') return phase === 'load' ? 'p' : 'b';
  return content.kind.slice(0, 1);
}

function count({ steps }: Plan, phase: Phase): number {
  return steps.filter((step) => step.phase === phase && step.kind === 'dispatch').length;
}

/** Rows with their cells padded to columns. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const cells of rows) cells.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((cells) => `  ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd());
}

/** `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${Number.isInteger(size) ? size : size.toFixed(1)} ${units[unit]}`;
}
