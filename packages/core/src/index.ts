// The public surface of @calotype/core. Everything that applications may use is listed here.

export { createSession } from './session.ts';
export type { Session } from './session.ts';
export type { PrepareOptions, RunOptions, SessionOptions } from './session/options.ts';
export type { Tensors } from './session/feeds.ts';
export type { IslandReport, SessionReport } from './session/report.ts';
export type { InputShapes } from './session/request.ts';
export type { UpdatesByWeight } from './session/weight-updates.ts';

export { Tensor } from './tensor/tensor.ts';
export type { GpuData, NumericType, TypedArray, TypedArrays } from './tensor/tensor.ts';
export type { DataType } from './tensor/dtype.ts';
export type { Shape } from './tensor/shape.ts';

export { GpuClock } from './gpu/clock.ts';
export type { GpuInterval } from './gpu/clock.ts';
export { Engine } from './gpu/engine.ts';
export type { EngineOptions, RunTimes, Transfer } from './gpu/engine.ts';
export type { DispatchTime } from './gpu/profiler.ts';
export type { PrepareProgress } from './gpu/load.ts';
export type { LowRankFactors, LowRankUpdate } from './gpu/low-rank.ts';
export { CustomKernel } from './gpu/custom-kernel.ts';
export type { CustomKernelSpec } from './gpu/custom-kernel.ts';

export { forgetTuning } from './tuning/table.ts';
export type { TuningEntry, TuningTable } from './tuning/table.ts';
export { tune } from './tuning/tune.ts';
export type { TunedProblem, TuneOptions, TuningReport } from './tuning/tune.ts';

export { footprintOf } from './plan/footprint.ts';
export type { Footprint } from './plan/footprint.ts';
export { printPlan } from './plan/print.ts';
export type { Capabilities, Precision } from './plan/capabilities.ts';
export type {
  Dispatch,
  Island,
  Join,
  Kernel,
  OperatorCount,
  Plan,
  PlanBuffer,
  QuantizedWeight,
  Step,
  Storage,
  TensorView,
} from './plan/plan.ts';
export type { WeightFormat } from './plan/weight-format.ts';
export type { SymbolicType } from './graph/template.ts';
export type { WeightInfo } from './graph/weight-uses.ts';

export { ortIsLoaded, setOrtAssets } from './fallback/runtime.ts';
export type { OrtAssets } from './fallback/runtime.ts';

export { readModel } from './onnx/reader.ts';
export type { ReadModelOptions } from './onnx/reader.ts';
export type { Model, ModelNode } from './onnx/model.ts';

export { blobSource } from './source/blob-source.ts';
export { bytesSource } from './source/bytes-source.ts';
export { directoryStore } from './source/directory-store.ts';
export { mapStore } from './source/map-store.ts';
export type { FileContents } from './source/map-store.ts';
export { urlSource } from './source/url-source.ts';
export { urlStore } from './source/url-store.ts';
export type { FetchOptions } from './source/fetch.ts';
export type { ModelSource } from './source/model-source.ts';
export type { ByteSource, FileStore } from './source/source.ts';

export { ModelCache } from './cache/model-cache.ts';
export type {
  CachedModel,
  CachedModelFile,
  CachedStoreOptions,
  ModelCacheOptions,
} from './cache/model-cache.ts';
export type { CachedStore, FetchProgress } from './cache/cached-store.ts';
export type { FileReport } from './cache/cached-file.ts';
export { openModelStore } from './cache/model-store.ts';
export type { FinishOptions, ModelStore, ModelStoreOptions, StoreReport } from './cache/model-store.ts';

export {
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
} from './errors.ts';
export type { UnsupportedOp } from './errors.ts';
