// What this repository's own tools read, rewrite and quantize model files with; no part of the published package.

export { toNumbers } from './onnx/elements.ts';
export type { Attribute, Model, ModelGraph, ModelNode, ModelValue, TensorRef } from './onnx/model.ts';
export { readModel, readTensor } from './onnx/reader.ts';
export { writeModel } from './onnx/write.ts';
export { quantizableNodes } from './plan/quantizable-nodes.ts';
export { blockSizes, leastDepth, leastElements, leastTableElements } from './plan/weight-format.ts';
export type { ByteSource, FileStore } from './source/source.ts';
export { bytesOf } from './tensor/dtype.ts';
export { toFloat16 } from './tensor/float16.ts';
export { quantizeBlock } from './tensor/quantize-block.ts';
