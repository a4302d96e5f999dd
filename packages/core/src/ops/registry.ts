import { OWN_DOMAIN } from '../graph/graph.ts';
import { microsoftOps, ownContribOps } from './contrib.ts';
import { compositeMovementOps } from './composite-movement.ts';
import { compositeNormalizationOps } from './composite-normalization.ts';
import { einsumOps } from './einsum.ts';
import { elementwiseOps } from './elementwise.ts';
import { elementwiseOp } from './fused-elementwise.ts';
import { ownAttentionOps } from './attention.ts';
import { convOps } from './conv.ts';
import { matmulOps, ownMatmulOps } from './matmul.ts';
import { gatherOps } from './gather.ts';
import { movementOps } from './movement.ts';
import { normalizationOps, ownNormalizationOps } from './normalization.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { fourierOps } from './fourier.ts';
import { generatorOps } from './generators.ts';
import { integerOps } from './integer-products.ts';
import { ownQuantizeOps, quantizeLinearOps } from './quantize-linear.ts';
import { optionalOps } from './optional.ts';
import { onnxAttentionOps } from './onnx-attention.ts';
import { poolingOps } from './pooling.ts';
import { reduceOps } from './reduce.ts';
import { recurrentOps } from './recurrent.ts';
import { resizeOps } from './resize.ts';
import { rotaryOps } from './rotary-embedding.ts';
import { samplingOps } from './sampling.ts';
import { scatterOps } from './scatter.ts';
import { selectionOps } from './selection.ts';
import { shapeOps } from './shape.ts';
import { softmaxOps } from './softmax.ts';

/** Every operator by domain. A table of one file each; names within a domain are unique. */
const tables: Readonly<Record<string, readonly OpTable[]>> = {
  '': [
    convOps,
    matmulOps,
    einsumOps,
    elementwiseOps,
    fourierOps,
    gatherOps,
    generatorOps,
    integerOps,
    quantizeLinearOps,
    rotaryOps,
    movementOps,
    optionalOps,
    normalizationOps,
    onnxAttentionOps,
    compositeMovementOps,
    compositeNormalizationOps,
    samplingOps,
    poolingOps,
    reduceOps,
    recurrentOps,
    resizeOps,
    selectionOps,
    scatterOps,
    shapeOps,
    softmaxOps,
  ],
  'com.microsoft': microsoftOps,
  [OWN_DOMAIN]: [
    { Elementwise: elementwiseOp },
    ownContribOps,
    ownQuantizeOps,
    ownNormalizationOps,
    ownAttentionOps,
    ownMatmulOps,
  ],
};

const definitions = new Map<string, OpDefinition>();
for (const [domain, list] of Object.entries(tables)) {
  for (const table of list) {
    for (const [op, definition] of Object.entries(table)) {
      const key = `${domain}:${op}`;
      if (definitions.has(key)) throw new Error(`Internal error: operator '${key}' is defined twice`);
      definitions.set(key, definition);
    }
  }
}

/** What the engine knows of an operator; `undefined` when it knows nothing. */
export function lookup(domain: string, op: string): OpDefinition | undefined {
  return definitions.get(`${domain}:${op}`);
}

/** Names of all known operators of a domain. */
export function operatorsOf(domain: string): string[] {
  return [...definitions.keys()]
    .filter((key) => key.startsWith(`${domain}:`))
    .map((key) => key.slice(domain.length + 1));
}
