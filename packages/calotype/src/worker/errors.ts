import {
  CalotypeError,
  DeviceLostError,
  DigestError,
  DisposedError,
  FileChangedError,
  InvalidModelError,
  NumericError,
  OutOfMemoryError,
  QuotaError,
  ShaderError,
  ShapeError,
  SourceError,
  UnsupportedCacheError,
  UnsupportedDeviceError,
  UnsupportedOpError,
  WeightUpdateError,
} from '@calotype/core';
import { registerErrors } from '@calotype/scheduler';
import * as errors from '../errors.ts';

/** Makes errors of other threads arrive as their own classes. By name: a page needs the errors of core, not its engine. */
export function registerAllErrors(): void {
  registerErrors(
    CalotypeError,
    DeviceLostError,
    DigestError,
    DisposedError,
    FileChangedError,
    InvalidModelError,
    NumericError,
    OutOfMemoryError,
    QuotaError,
    ShaderError,
    ShapeError,
    SourceError,
    UnsupportedCacheError,
    UnsupportedDeviceError,
    UnsupportedOpError,
    WeightUpdateError,
    ...Object.values(errors),
  );
}
