import { OWN_DOMAIN } from '../graph/graph.ts';
import { blockQuantizationOps, ownBlockQuantizationOps } from './block-quantization.ts';
import { compositeMovementOps } from './composite-movement.ts';
import { compositeNormalizationOps } from './composite-normalization.ts';
import { contribAttentionOps } from './contrib-attention.ts';
import { contribLinearOps } from './contrib-linear.ts';
import { contribNormalizationOps } from './contrib-normalization.ts';
import { einsumOps } from './einsum.ts';
import { fourierOps } from './fourier.ts';
import { generatorOps } from './generators.ts';
import { integerOps, microsoftIntegerOps } from './integer-products.ts';
import { onnxAttentionOps } from './onnx-attention.ts';
import type { OpTables } from './op.ts';
import { optionalOps } from './optional.ts';
import { pickingOps } from './picking.ts';
import { poolingOps } from './pooling.ts';
import { recurrentOps } from './recurrent.ts';
import { rotaryOps } from './rotary-embedding.ts';
import { samplingOps } from './sampling.ts';
import { scatterOps } from './scatter.ts';

/** Operators that a float Stable Diffusion does not have: fetched for the models that name one (`loadOperators`). */
export const rareTables: OpTables = {
  '': [
    compositeMovementOps,
    compositeNormalizationOps,
    einsumOps,
    fourierOps,
    generatorOps,
    integerOps,
    onnxAttentionOps,
    optionalOps,
    pickingOps,
    poolingOps,
    recurrentOps,
    rotaryOps,
    samplingOps,
    scatterOps,
  ],
  'com.microsoft': [
    blockQuantizationOps,
    contribAttentionOps,
    contribLinearOps,
    contribNormalizationOps,
    microsoftIntegerOps,
  ],
  [OWN_DOMAIN]: [ownBlockQuantizationOps],
};
