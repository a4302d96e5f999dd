import type { UnsupportedOp } from '../errors.ts';
import type { IslandRecord, Provider } from '../fallback/islands.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Model } from '../onnx/model.ts';
import type { Precision } from '../plan/capabilities.ts';
import { formatBytes } from '../plan/print.ts';
import type { Join, OperatorCount, Plan, QuantizedWeight } from '../plan/plan.ts';

/** What runs a session's model, and what it costs where that is not this library. */
export interface SessionReport {
  /**
   * - `webgpu`: kernels of this library run everything.
   * - `mixed`: some operators run in onnxruntime-web, see `islands`.
   * - `cpu`: the whole model runs in onnxruntime-web on the CPU, see `reason`.
   * - `unprepared`: nothing was run or prepared yet.
   */
  path: 'webgpu' | 'mixed' | 'cpu' | 'unprepared';
  /** Why the path is `cpu`. */
  reason?: string;
  /** GPU, for example `nvidia-hopper`. */
  adapter?: string;
  precision?: Precision;
  /** Operators after fusion, of the input shapes that were prepared last. */
  operators: OperatorCount[];
  islands: IslandReport[];
  /** How often its memory was given to others; its weights were read again when it ran next. */
  evictions: number;
  /** Weights of few bits. Those that have to lie on the GPU in floats say why. */
  quantized: readonly QuantizedWeight[];
  /** Concatenations of a run; those that are copied say why. */
  joins: readonly Join[];
  /** Kinds of products and attentions whose kernel was measured to be the fastest on this device (`tune`). */
  tuned: readonly string[];
  /** The report in words. */
  toString(): string;
}

export interface IslandReport {
  /** Its operators, and why each has no kernel. */
  operators: readonly UnsupportedOp[];
  /** Where onnxruntime-web runs it: on our GPU buffers, or on the CPU with copies both ways. */
  provider: Provider;
  /** Why it is not on the GPU, where it is not. */
  note?: string;
  runs: number;
  /** Mean wall time of a run until onnxruntime gave control back; on the GPU work may still go on then. */
  millisecondsPerRun: number;
}

export function gpuReport(
  engine: Engine,
  plan: Plan | undefined,
  records: readonly IslandRecord[],
  evictions: number,
): SessionReport {
  const islands = records.map(({ island, provider, note, runs, milliseconds }) => ({
    operators: island.operators,
    provider,
    ...(note !== undefined && { note }),
    runs,
    millisecondsPerRun: runs > 0 ? milliseconds / runs : 0,
  }));
  return inWords({
    path: !plan ? 'unprepared' : islands.length > 0 ? 'mixed' : 'webgpu',
    adapter: engine.capabilities.adapter,
    precision: plan?.precision ?? engine.precision,
    operators: plan?.operators ?? [],
    islands,
    evictions,
    quantized: plan?.quantized ?? [],
    joins: plan?.joins ?? [],
    tuned: plan?.tuned ?? [],
  });
}

export function cpuReport(model: Model, reason: string): SessionReport {
  const counts = new Map<string, OperatorCount>();
  for (const { op, domain } of model.graph.nodes) {
    const count = counts.get(`${domain} ${op}`) ?? { op, domain, nodes: 0, runtime: 'onnxruntime' };
    count.nodes++;
    counts.set(`${domain} ${op}`, count);
  }
  return inWords({
    path: 'cpu',
    reason,
    operators: [...counts.values()],
    islands: [],
    quantized: [],
    joins: [],
    tuned: [],
    evictions: 0,
  });
}

function inWords(report: Omit<SessionReport, 'toString'>): SessionReport {
  return { ...report, toString: () => print(report) };
}

function print(report: Omit<SessionReport, 'toString'>): string {
  const { path, reason, adapter, precision, islands, evictions, joins } = report;
  const head = [path, precision, adapter].filter((part) => part !== undefined).join(' ');
  const notes = islands.map(({ operators, provider, note }) => {
    const names = [...new Set(operators.map(({ op }) => op))].join(', ');
    const reasons = [...new Set(operators.map((operator) => operator.reason))].join('; ');
    return `onnxruntime (${provider}) runs ${names}: ${reasons}${note ? `; ${note}` : ''}`;
  });
  const { tuned } = report;
  if (tuned.length > 0)
    notes.push(
      `kernels as measured on this device, not by the rules: ${tuned.length} kinds of products and attentions`,
    );
  const copied = joins.filter((join) => join.copied !== undefined).length;
  if (joins.length > 0)
    notes.push(
      `${joins.length - copied} concatenations are read where their parts lie, ${copied} are copied`,
    );
  if (evictions > 0) notes.push(`evicted ${evictions} times to keep the memory budget`);
  return [reason ? `${head}: ${reason}` : head, ...notes, ...weightNotes(report.quantized)].join('\n');
}

/** How many weights are kept in each format, and which are not. */
function weightNotes(weights: readonly QuantizedWeight[]): string[] {
  const formats = new Map<string, { count: number; bytes: number }>();
  for (const { format, bytes, inflated } of weights) {
    if (inflated !== undefined) continue;
    const { count, bytes: sum } = formats.get(format) ?? { count: 0, bytes: 0 };
    formats.set(format, { count: count + 1, bytes: sum + bytes });
  }
  return [
    ...[...formats].map(
      ([format, { count, bytes }]) => `${count} weights as ${format}: ${formatBytes(bytes)}`,
    ),
    ...weights.flatMap(({ name, format, bytes, inflated }) =>
      inflated === undefined
        ? []
        : [`'${name}' (${format}) takes ${formatBytes(bytes)} as floats: ${inflated}`],
    ),
  ];
}
