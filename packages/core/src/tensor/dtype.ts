/** Element types that a graph may name. ONNX's own, by their ONNX names in lower case. */
export type DataType =
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float64'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'int4'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'uint4'
  | 'bool'
  | 'string';

/** Bits of one element as ONNX stores it. Strings have none. */
export const bitsOf: Readonly<Record<DataType, number>> = {
  float32: 32,
  float16: 16,
  bfloat16: 16,
  float64: 64,
  int64: 64,
  int32: 32,
  int16: 16,
  int8: 8,
  int4: 4,
  uint64: 64,
  uint32: 32,
  uint16: 16,
  uint8: 8,
  uint4: 4,
  bool: 8,
  string: 0,
};

/** Bytes that `elements` elements of `dtype` take as ONNX stores them (4-bit types two to a byte). */
export function bytesOf(dtype: DataType, elements: number): number {
  return Math.ceil((elements * bitsOf[dtype]) / 8);
}

/** Whether arithmetic on `dtype` is floating-point. */
export function isFloat(dtype: DataType): boolean {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16' || dtype === 'float64';
}
