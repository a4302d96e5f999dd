import type { AttentionChoice } from '../kernels/attention/choose.ts';
import type { AttentionProblem } from '../kernels/attention/problem.ts';
import { attentionFlops } from '../kernels/attention/problem.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import { gemmFlops } from '../kernels/gemm/output.ts';
import type { GemmProblem } from '../kernels/gemm/problem.ts';
import type { KernelTuning } from '../kernels/tuning.ts';

/** A product or attention that was planned, with what the rules chose for it. */
export type PlannedProblem =
  | { kind: 'gemm'; problem: GemmProblem; rule: GemmChoice }
  | { kind: 'attention'; problem: AttentionProblem; rule: AttentionChoice };

/** All that decides how fast a product is, in words: two problems of one key may take one another's kernels. */
export function gemmKey(problem: GemmProblem): string {
  const { a, b, rows, columns, depth, batch, gate, output } = problem;
  const left =
    a.kind === 'convolution'
      ? `${a.direction === 'forward' ? 'conv' : 'conv_transpose'} ${a.axes
          .map(({ kernel, stride, upsample }) => `${kernel}/${stride}*${upsample}`)
          .join(' ')} of ${a.channels}`
      : 'matmul';
  const right = b.kind === 'weight' ? `weight ${b.groups}` : b.layout;
  const bits = b.kind === 'weight' ? b.bits : undefined;
  return [
    left,
    `${batch.length > 0 ? `${batch.join('x')} of ` : ''}${rows}x${columns}x${depth}`,
    `${a.view.storage} ${right} ${bits ? `int${bits}` : b.view.storage}`,
    ...(a.kind !== 'winograd' && a.pair ? ['two tensors'] : []),
    ...(gate ? ['gated'] : []),
    ...(output.part ? ['part'] : []),
  ].join(', ');
}

export function attentionKey(problem: AttentionProblem): string {
  const { batch, heads, keyHeads, queries, keys, headSize, valueSize, causal, mask, q } = problem;
  return [
    'attention',
    `${batch}x${heads}${keyHeads === heads ? '' : `/${keyHeads}`} of ${queries}x${keys}x${headSize}`,
    ...(valueSize === headSize ? [] : [`values of ${valueSize}`]),
    q.storage,
    ...(causal ? ['causal'] : []),
    ...(mask ? ['masked'] : []),
  ].join(', ');
}

export function keyOf(planned: PlannedProblem): string {
  return planned.kind === 'gemm' ? gemmKey(planned.problem) : attentionKey(planned.problem);
}

export function flopsOf(planned: PlannedProblem): number {
  return planned.kind === 'gemm' ? gemmFlops(planned.problem) : attentionFlops(planned.problem);
}

/** The same tuning, which notes the problems for which it replaced what the rules chose. */
export function noting(tuning: KernelTuning, replaced: Set<string>): KernelTuning {
  return {
    ...tuning,
    gemm(problem, rule) {
      const choice = tuning.gemm?.(problem, rule) ?? rule;
      if (JSON.stringify(choice) !== JSON.stringify(rule)) replaced.add(gemmKey(problem));
      return choice;
    },
    attention(problem, rule) {
      const choice = tuning.attention?.(problem, rule) ?? rule;
      if (JSON.stringify(choice) !== JSON.stringify(rule)) replaced.add(attentionKey(problem));
      return choice;
    },
  };
}

/** Tuning that changes nothing and notes what it is asked, with how often. */
export function recording(found: Map<string, { planned: PlannedProblem; count: number }>): KernelTuning {
  const note = (planned: PlannedProblem): void => {
    const key = keyOf(planned);
    found.set(key, { planned, count: (found.get(key)?.count ?? 0) + 1 });
  };
  return {
    gemm(problem, rule) {
      note({ kind: 'gemm', problem, rule });
      return rule;
    },
    attention(problem, rule) {
      note({ kind: 'attention', problem, rule });
      return rule;
    },
  };
}
