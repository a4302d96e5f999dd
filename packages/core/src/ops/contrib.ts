import { blockQuantizationOps, ownBlockQuantizationOps } from './block-quantization.ts';
import { contribAttentionOps } from './contrib-attention.ts';
import { contribLinearOps } from './contrib-linear.ts';
import { contribNormalizationOps } from './contrib-normalization.ts';
import { microsoftElementwiseOps } from './elementwise.ts';
import { microsoftIntegerOps } from './integer-products.ts';
import { movementOps } from './movement.ts';
import { normalizationOps } from './normalization.ts';
import type { OpTable } from './op.ts';
import { quantizeLinearOps } from './quantize-linear.ts';

/** Everything of the domain com.microsoft, onnxruntime's own operators, which its optimizer and exporters write. */
export const microsoftOps: readonly OpTable[] = [
  blockQuantizationOps,
  contribAttentionOps,
  contribLinearOps,
  contribNormalizationOps,
  microsoftElementwiseOps,
  microsoftIntegerOps,
  // The same as ONNX's, under the other domain.
  {
    DequantizeLinear: quantizeLinearOps['DequantizeLinear']!,
    LayerNormalization: normalizationOps['LayerNormalization']!,
    QuantizeLinear: quantizeLinearOps['QuantizeLinear']!,
    SimplifiedLayerNormalization: normalizationOps['SimplifiedLayerNormalization']!,
    Trilu: movementOps['Trilu']!,
  },
];

/** What they expand into that ONNX does not have. */
export const ownContribOps: OpTable = ownBlockQuantizationOps;
