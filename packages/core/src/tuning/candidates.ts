import type { AttentionChoice } from '../kernels/attention/choose.ts';
import { matrixAttentionBytes } from '../kernels/attention/matrix.ts';
import type { AttentionProblem } from '../kernels/attention/problem.ts';
import { rowsWorkgroupBytes } from '../kernels/attention/rows.ts';
import { wideBytes, wideThreads } from '../kernels/attention/wide.ts';
import { rankFma } from '../kernels/gemm/choose-fma.ts';
import { rankMatrixTiles } from '../kernels/gemm/choose-matrix.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import type { GemmProblem } from '../kernels/gemm/problem.ts';
import type { Capabilities } from '../plan/capabilities.ts';
import type { PlannedProblem } from './problems.ts';

/** What is worth trying beside the rules' choice, the likeliest first. */
export function candidatesFor(
  planned: PlannedProblem,
  capabilities: Capabilities,
): (GemmChoice | AttentionChoice)[] {
  const candidates =
    planned.kind === 'gemm'
      ? gemmCandidates(planned.problem, planned.rule, capabilities)
      : attentionCandidates(planned.problem, planned.rule, capabilities);
  const known = new Set([JSON.stringify(planned.rule)]);
  return candidates.filter((choice) => {
    const text = JSON.stringify(choice);
    const isNew = !known.has(text);
    known.add(text);
    return isNew;
  });
}

function gemmCandidates(problem: GemmProblem, rule: GemmChoice, capabilities: Capabilities): GemmChoice[] {
  switch (rule.kind) {
    case 'matrix':
      return rankMatrixTiles(problem, capabilities)
        .slice(0, 3)
        .flatMap(({ tile, slices }): GemmChoice[] => {
          const fewer = slices > 1 && slices <= 3 ? [slices, slices - 1] : [slices];
          return fewer.map((count) => ({ kind: 'matrix', tile, slices: count }));
        });
    case 'winograd':
    case 'fma':
      return rankFma(problem, capabilities).flatMap(({ tile, slices }): GemmChoice[] => [
        { kind: 'fma', tile, slices },
        ...(slices > 1 ? [{ kind: 'fma' as const, tile, slices: Math.ceil(slices / 2) }] : []),
      ]);
    // Rows are few, or there is no GPU: nothing to choose from.
    case 'gemv':
    case 'direct':
      return [];
  }
}

function attentionCandidates(
  problem: AttentionProblem,
  rule: AttentionChoice,
  { limits }: Capabilities,
): AttentionChoice[] {
  const memory = limits.maxComputeWorkgroupStorageSize;
  const threads = limits.maxComputeInvocationsPerWorkgroup;
  switch (rule.kind) {
    case 'matrix':
      return [2, 4, 8, 12, 16].flatMap((subgroups) =>
        [16, 32]
          .flatMap((tileKeys) => ([1, 2] as const).map((buffers) => ({ subgroups, tileKeys, buffers })))
          .filter((shape) => subgroups * 32 <= threads && matrixAttentionBytes(problem, shape) <= memory)
          .map((shape): AttentionChoice => ({ kind: 'matrix', shape })),
      );
    case 'rows':
      return [1, 2, 4, 8].flatMap((lanes) =>
        [1, 2, 3, 4].flatMap((rows) =>
          [64, 128]
            .map((count) => ({ ...rule.shape, threads: count, lanes, rows }))
            .filter((shape) => {
              const registers =
                (8 * Math.ceil(Math.max(problem.headSize, problem.valueSize) / 4) * rows) / lanes;
              return registers <= 160 && registers >= 24 && rowsWorkgroupBytes(problem, shape) <= memory;
            })
            .map((shape): AttentionChoice => ({ kind: 'rows', shape })),
        ),
      );
    case 'wide':
      return [32, 64]
        .map((tileKeys) => ({ ...rule.shape, tileKeys }))
        .filter((shape) => wideBytes(problem, shape) <= memory && wideThreads(shape) <= threads)
        .map((shape) => ({ kind: 'wide', shape }));
    case 'direct':
      return [];
    case 'wide-matrix':
      return [16, 32].map((tileKeys) => ({ kind: 'wide-matrix', shape: { ...rule.shape, tileKeys } }));
  }
}
