import type { Lowering } from '../../plan/lowering.ts';
import { blockSizes, leastDepth, leastElements } from '../../plan/weight-format.ts';
import blockSource from '../quantize/quantize_block.wgsl';
import { scalarOf, u32 } from '../shader.ts';
import { address, addressParams, partsOf } from './pack-address.ts';
import { CHUNK_WORDS, packed, packedSizes, runsOf } from './pack-integers.ts';
import type { GemmProblem, PreparedB, WeightSource } from './problem.ts';
import source from './quantize_weight.wgsl';

const WORKGROUP = 64;

/** Bits of the integers that a float weight becomes; `undefined` where it stays one. */
export function quantizedBits(
  { weights }: Lowering,
  { depth, columns }: GemmProblem,
  { view }: WeightSource,
): 4 | 8 | undefined {
  if ((weights !== 'int4' && weights !== 'int8') || scalarOf(view.storage) !== 'f32') return undefined;
  if (depth < leastDepth || depth * columns < leastElements) return undefined;
  return weights === 'int4' ? 4 : 8;
}

/** A float weight quantized as it is packed, where the session's format for the layer says so. */
export function quantizeWeight(
  lowering: Lowering,
  problem: GemmProblem,
  b: WeightSource,
): PreparedB | undefined {
  const { depth } = problem;
  const bits = quantizedBits(lowering, problem, b);
  if (bits === undefined) return undefined;
  const weights = bits === 4 ? 'int4' : 'int8';
  const block = blockSizes[weights];
  const { columns, chunks } = packedSizes(problem, bits);
  const runs = runsOf(depth, block);
  const q = lowering.scratch('integers', [b.groups, chunks, columns, CHUNK_WORDS], 'u32');
  const scale = lowering.scratch('scales', [b.groups, runs, columns], 'f16');
  const threads = (b.groups * runs * columns) / 4;
  for (const part of partsOf(lowering, b)) {
    lowering.dispatch({
      name: `gemm_quantize_${weights}_${b.view.storage}`,
      body: source,
      functions: [address, blockSource].join('\n'),
      inputs: { W: part.view },
      outputs: { Q: q, S: scale },
      constants: { WORKGROUP, GATED: problem.gate !== undefined, BITS: bits, BLOCK: block },
      params: {
        threads: u32(threads),
        columns: u32(columns),
        chunks: u32(chunks),
        runs: u32(runs),
        ...addressParams(problem, b, part),
      },
      workgroups: Math.ceil(threads / WORKGROUP),
    });
  }
  lowering.keepsIntegers(b.view, `${weights} in blocks of ${block}, made at load`, [q, scale]);
  return packed(problem, b, q, { bits, scale, zero: 2 ** (bits - 1), run: block });
}
