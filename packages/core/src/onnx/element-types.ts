import type { DataType } from '../tensor/dtype.ts';

/** ONNX's TensorProto.DataType by number; undefined for those that nothing here computes with (float8, complex, …). */
const dtypes: readonly (DataType | undefined)[] = [
  ...([
    undefined,
    'float32',
    'uint8',
    'int8',
    'uint16',
    'int16',
    'int32',
    'int64',
    'string',
    'bool',
  ] as const),
  ...(['float16', 'float64', 'uint32', 'uint64', undefined, undefined, 'bfloat16'] as const),
  ...([undefined, undefined, undefined, undefined, 'uint4', 'int4'] as const),
];

/** Element type by ONNX's number. */
export function dtypeOf(code: number): DataType | undefined {
  return dtypes[code];
}

/** ONNX's number of an element type. */
export function codeOf(dtype: DataType): number {
  return dtypes.indexOf(dtype);
}
