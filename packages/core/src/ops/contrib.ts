import { microsoftElementwiseOps } from './elementwise.ts';
import { movementOps } from './movement.ts';
import { normalizationOps } from './normalization.ts';
import type { OpTable } from './op.ts';
import { quantizeLinearOps } from './quantize-linear.ts';

/** What is common of the domain com.microsoft: onnxruntime's own operators, which its optimizer and exporters write. */
export const microsoftOps: readonly OpTable[] = [
  microsoftElementwiseOps,
  // The same as ONNX's, under the other domain.
  {
    DequantizeLinear: quantizeLinearOps['DequantizeLinear']!,
    LayerNormalization: normalizationOps['LayerNormalization']!,
    QuantizeLinear: quantizeLinearOps['QuantizeLinear']!,
    SimplifiedLayerNormalization: normalizationOps['SimplifiedLayerNormalization']!,
    Trilu: movementOps['Trilu']!,
  },
];
