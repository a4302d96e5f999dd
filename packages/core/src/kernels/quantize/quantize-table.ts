import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import type { Quantized } from '../../plan/quantized.ts';
import { isDense } from '../../plan/view.ts';
import { blockSizes, leastTableElements } from '../../plan/weight-format.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { scalarOf, u32 } from '../shader.ts';
import blockSource from './quantize_block.wgsl';
import source from './quantize_table.wgsl';

const WORKGROUP = 64;

/** A table [rows, width] of floats in integers, where the session's format for the layer says so. */
export function quantizeTable(lowering: Lowering, table: TensorView): Quantized | undefined {
  const { weights } = lowering;
  if ((weights !== 'int4' && weights !== 'int8') || lowering.phase(table) !== 'load') return undefined;
  const size = blockSizes[weights];
  const [rows, width] = table.shape;
  const fits = table.shape.length === 2 && width! % size === 0 && isDense(table);
  if (!fits || scalarOf(table.storage) !== 'f32' || sizeOf(table.shape) < leastTableElements)
    return undefined;
  const bits = weights === 'int4' ? 4 : 8;
  const blocks = (rows! * width!) / size;
  const words = lowering.scratch('integers', [rows!, (width! * bits) / 32], 'u32');
  const scale = lowering.scratch('scales', [rows!, width! / size], 'f16');
  const threads = Math.ceil(blocks / 4);
  lowering.dispatch({
    name: `quantize_table_${weights}_${table.storage}`,
    body: source,
    functions: blockSource,
    inputs: { W: table },
    outputs: { X: words, S: scale },
    constants: { WORKGROUP, BITS: bits, BLOCK: size },
    params: { threads: u32(threads), blocks: u32(blocks), w_offset: u32(table.offset) },
    workgroups: Math.ceil(threads / WORKGROUP),
  });
  lowering.keepsIntegers(table, `${weights} in blocks of ${size}, made at load`, [words, scale]);
  const x: TensorView = {
    ...words,
    dtype: bits === 4 ? 'uint4' : 'uint8',
    storage: bits === 4 ? 'u4' : 'u8',
    shape: table.shape,
    strides: [width!, 1],
  };
  return { x, scale, zero: 2 ** (bits - 1), block: { axis: 1, size } };
}
