import type { DispatchSpec } from '../../plan/lowering.ts';
import { epilogueCode } from '../elementwise/epilogue.ts';
import { u32 } from '../shader.ts';
import { attentionFlops, type AttentionProblem } from './problem.ts';
import { headAddresses, maskCode } from './shared.ts';

/** What one attention kernel has of its own. */
interface AttentionKernel {
  /** Kernel and tile sizes, for its name. */
  name: string;
  /** Queries of a workgroup. */
  rows: number;
  directives?: readonly string[];
  /** Operands read as they lie. */
  raw?: readonly string[];
  /** Functions that read operands. */
  loads: readonly string[];
  body: string;
}

/** The dispatch of an attention kernel: each workgroup takes some queries of one head. */
export function attentionDispatch(
  problem: AttentionProblem,
  { name, rows, directives, raw, loads, body }: AttentionKernel,
): DispatchSpec {
  const { q, k, v, output, batch, heads, queries, keys, causal, scale } = problem;
  const blocks = Math.ceil(queries / rows);
  const workgroups = blocks * batch * heads;
  const address = headAddresses(problem);
  const mask = maskCode(problem);
  const epilogue = epilogueCode(problem.epilogue, output);
  return {
    name: `${name}${causal ? '_causal' : ''}${problem.mask ? '_masked' : ''}`,
    ...(directives && { directives }),
    ...(raw && { raw }),
    inputs: { Q: q, K: k, V: v, ...mask.inputs, ...epilogue.inputs },
    outputs: { Y: output },
    functions: [...loads, address.functions, mask.functions, epilogue.functions].join('\n'),
    params: {
      queries: u32(queries),
      keys: u32(keys),
      heads: u32(heads),
      blocks: u32(blocks),
      workgroups: u32(workgroups),
      scale: { type: 'f32', value: scale * Math.LOG2E },
      ...address.params,
      ...mask.params,
      ...epilogue.params,
    },
    body,
    workgroups,
    work: { flops: attentionFlops(problem) },
  };
}
