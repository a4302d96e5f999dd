import { expect, test } from 'vitest';
import * as core from '../src/index.ts';

test('the public surface', () => {
  expect(Object.keys(core).toSorted()).toMatchInlineSnapshot(`
    [
      "CalotypeError",
      "CustomKernel",
      "DeviceLostError",
      "DigestError",
      "DisposedError",
      "Engine",
      "FileChangedError",
      "GpuClock",
      "InvalidModelError",
      "ModelCache",
      "NumericError",
      "OutOfMemoryError",
      "QuotaError",
      "ShaderError",
      "ShapeError",
      "SourceError",
      "Tensor",
      "UnsupportedCacheError",
      "UnsupportedDeviceError",
      "UnsupportedOpError",
      "WeightUpdateError",
      "blobSource",
      "bytesSource",
      "createSession",
      "directoryStore",
      "footprintOf",
      "forgetTuning",
      "mapStore",
      "openModelStore",
      "ortIsLoaded",
      "printPlan",
      "readModel",
      "setOrtAssets",
      "tune",
      "urlSource",
      "urlStore",
    ]
  `);
});
