import { storageBits } from '../kernels/shader.ts';
import type { DataType } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { Storage, TensorView } from './plan.ts';

/** How the bytes of each dtype are read where they lie in a file or come from the caller. */
export const fileStorage: Readonly<Record<Exclude<DataType, 'string'>, Storage>> = {
  float32: 'f32', float16: 'f16', bfloat16: 'bf16', int64: 'i64', int32: 'i32', int8: 'i8', int4: 'i4',
  uint32: 'u32', uint8: 'u8', uint4: 'u4', bool: 'u8',
  // No accessor reads these; the upload converts them to the nearest 32-bit type.
  float64: 'f32', int16: 'i32', uint16: 'u32', uint64: 'u32',
}; // prettier-ignore

/** Storage that kernels write for what they read from `storage`. */
export function computedStorage(storage: Storage): Storage {
  switch (storage) {
    case 'bf16':
      return 'f32';
    case 'i64':
    case 'i8':
    case 'i4':
      return 'i32';
    case 'u8':
    case 'u4':
      return 'u32';
    default:
      return storage;
  }
}

/** Buffers end on a multiple of 16 bytes, so that vec4 accesses at the end stay inside. Never empty. */
export function paddedBytes(storage: Storage, elements: number): number {
  return Math.max(16, Math.ceil((elements * storageBits[storage]) / 8 / 16) * 16);
}

/** Bytes of all elements that the views see. */
export function movedBytes(views: readonly TensorView[]): number {
  return views.reduce((sum, view) => sum + (sizeOf(view.shape) * storageBits[view.storage]) / 8, 0);
}
