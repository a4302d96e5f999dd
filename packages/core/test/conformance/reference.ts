import { readSafetensors, type SafetensorsDtype } from '@calotype/dev/safetensors';
import { toNumbers } from '../../src/onnx/elements.ts';
import type { CpuTensor } from '../../src/ops/op.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { equalShapes, formatShape, sizeOf, type Shape } from '../../src/tensor/shape.ts';
import type { NumericType } from '../../src/tensor/tensor.ts';

const dtypes: Readonly<Record<SafetensorsDtype, NumericType>> = {
  BOOL: 'bool', U8: 'uint8', I8: 'int8', U16: 'uint16', I16: 'int16', F16: 'float16', BF16: 'bfloat16',
  U32: 'uint32', I32: 'int32', F32: 'float32', U64: 'uint64', I64: 'int64', F64: 'float64',
}; // prettier-ignore

/** A tensor of a node test. */
export type Reference = CpuTensor & { dtype: NumericType };

/** The inputs and outputs of a node test by name. */
export function readReferences(bytes: Uint8Array): Map<string, Reference> {
  return new Map(
    [...readSafetensors(bytes)].map(([name, { dtype, shape, data }]) => [
      name,
      { dtype: dtypes[dtype], shape, data: toNumbers(dtypes[dtype], data, sizeOf(shape)) },
    ]),
  );
}

/** The same with the rank that the graph declares: the files hold scalars as tensors of one element. */
export function declaredAs<T extends CpuTensor>(reference: T, shape: readonly unknown[] | undefined): T {
  return shape?.length === 0 ? { ...reference, shape: [] } : reference;
}

/**
 * Relative tolerance as in ONNX's own runner: some references are written down with four digits. The absolute one is
 * f32's precision for sums near 1.
 */
const tolerances: Partial<Record<DataType, { relative: number; absolute: number }>> = {
  float32: { relative: 1e-3, absolute: 1e-6 },
  float16: { relative: 2e-3, absolute: 1e-3 },
};

/** What is wrong with a result, in words; nothing when it is right. */
export function differences(
  name: string,
  actual: { dtype: DataType; shape: Shape; data: Float64Array },
  expected: Reference,
): string[] {
  if (actual.dtype !== expected.dtype) return [`'${name}' is ${actual.dtype}, not ${expected.dtype}`];
  if (!equalShapes(actual.shape, expected.shape)) {
    return [`'${name}' is ${formatShape(actual.shape)}, not ${formatShape(expected.shape)}`];
  }
  const { relative, absolute } = tolerances[expected.dtype] ?? { relative: 0, absolute: 0 };
  let wrong = 0;
  let first = '';
  expected.data.forEach((want, i) => {
    const got = actual.data[i]!;
    // Also both NaN, and infinities of one sign.
    if (Object.is(got, want) || Math.abs(got - want) <= absolute + relative * Math.abs(want)) return;
    wrong++;
    first ||= `[${i}] is ${got}, not ${want}`;
  });
  return wrong === 0 ? [] : [`'${name}': ${wrong} of ${expected.data.length} elements are wrong, ${first}`];
}
