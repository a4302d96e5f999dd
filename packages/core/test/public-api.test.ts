import { expect, test } from 'vitest';
import * as core from '../src/index.ts';

test('the public surface', () => {
  expect(Object.keys(core).toSorted()).toMatchInlineSnapshot(`
    [
      "CalotypeError",
      "CustomKernel",
      "DeviceLostError",
      "DisposedError",
      "Engine",
      "InvalidModelError",
      "NumericError",
      "OutOfMemoryError",
      "ShaderError",
      "ShapeError",
      "SourceError",
      "Tensor",
      "UnsupportedDeviceError",
      "UnsupportedOpError",
      "WeightUpdateError",
      "blobSource",
      "bytesSource",
      "createSession",
      "directoryStore",
      "mapStore",
      "ortIsLoaded",
      "printPlan",
      "readModel",
      "setOrtAssets",
      "urlSource",
      "urlStore",
    ]
  `);
});
