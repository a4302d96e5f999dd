import type { UnsupportedOp } from '../errors.ts';
import type { IslandRecord, Provider } from '../fallback/islands.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Model } from '../onnx/model.ts';
import type { Precision } from '../plan/capabilities.ts';
import type { OperatorCount, Plan } from '../plan/plan.ts';

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
  });
}

export function cpuReport(model: Model, reason: string): SessionReport {
  const counts = new Map<string, OperatorCount>();
  for (const { op, domain } of model.graph.nodes) {
    const count = counts.get(`${domain} ${op}`) ?? { op, domain, nodes: 0, runtime: 'onnxruntime' };
    count.nodes++;
    counts.set(`${domain} ${op}`, count);
  }
  return inWords({ path: 'cpu', reason, operators: [...counts.values()], islands: [] });
}

function inWords(report: Omit<SessionReport, 'toString'>): SessionReport {
  return { ...report, toString: () => print(report) };
}

function print({ path, reason, adapter, precision, islands }: Omit<SessionReport, 'toString'>): string {
  const head = [path, precision, adapter].filter((part) => part !== undefined).join(' ');
  const notes = islands.map(({ operators, provider, note }) => {
    const names = [...new Set(operators.map(({ op }) => op))].join(', ');
    const reasons = [...new Set(operators.map((operator) => operator.reason))].join('; ');
    return `onnxruntime (${provider}) runs ${names}: ${reasons}${note ? `; ${note}` : ''}`;
  });
  return [reason ? `${head}: ${reason}` : head, ...notes].join('\n');
}
