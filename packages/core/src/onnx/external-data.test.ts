import { expect, test } from 'vitest';
import { model } from '../../test/onnx-writer.ts';
import { InvalidModelError } from '../errors.ts';
import { type FileContents, mapStore } from '../source/map-store.ts';
import type { TensorRef } from './model.ts';
import { readModel, readTensor, type ReadModelOptions } from './reader.ts';

const weights = Uint8Array.from({ length: 32 }, (_, i) => i);

async function open(
  external: Record<string, string>,
  files: Record<string, FileContents> = { 'unet/w.bin': weights, 'shared/w.bin': weights },
  options: ReadModelOptions = {},
): Promise<TensorRef> {
  const bytes = model({ initializers: { w: { dtype: 'float32', dims: [2, 2], external } } });
  const store = mapStore({ 'unet/model.onnx': bytes, ...files });
  return (await readModel(store, 'unet/model.onnx', options)).graph.initializers.get('w')!;
}

test('offset and length are optional', async () => {
  expect([...(await readTensor(await open({ location: 'w.bin' })))]).toEqual([...weights.subarray(0, 16)]);
  const ref = await open({ location: './w.bin', offset: '16', length: '16' });
  expect([...(await readTensor(ref))]).toEqual([...weights.subarray(16)]);
});

test('locations are relative to the folder of the model, and may be blobs', async () => {
  const ref = await open(
    { location: '../shared/w.bin', offset: '4' },
    { 'shared/w.bin': new Blob([weights]) },
  );
  expect([...(await readTensor(ref))]).toEqual([...weights.subarray(4, 20)]);
});

test('a missing file is an error that names file and tensor', async () => {
  await expect(open({ location: 'lost.bin' })).rejects.toThrow(/tensor 'w'.*'unet\/lost.bin' is missing/);
});

test('a missing file can be allowed', async () => {
  const ref = await open({ location: 'lost.bin', offset: '64' }, {}, { allowMissingExternalData: true });
  expect(ref.data).toEqual({ kind: 'missing', location: 'unet/lost.bin', offset: 64, length: 16 });
  await expect(readTensor(ref)).rejects.toThrow(InvalidModelError);
});

test.each([
  ['a range beyond the end', { location: 'w.bin', offset: '17' }, /32 bytes; 16 from 17/],
  ['a huge offset', { location: 'w.bin', offset: '9007199254740991' }, /wanted/],
  [
    'a length that the dims deny',
    { location: 'w.bin', length: '12' },
    /12 bytes where float32\[2, 2\] has 16/,
  ],
  ['a negative offset', { location: 'w.bin', offset: '-1' }, /offset '-1' is no byte count/],
  ['an offset that is no number', { location: 'w.bin', offset: '1e3' }, /is no byte count/],
  ['no location', { offset: '0' }, /location cannot be used/],
  ['a way out of the store', { location: '../../etc/passwd' }, /leaves the folder/],
  ['an absolute path', { location: '/etc/passwd' }, /must be relative/],
  ['another host', { location: 'https://example.com/w.bin' }, /colon/],
  ['a backslash', { location: '..\\w.bin' }, /backslash/],
  ['a NUL', { location: 'w.bin\0' }, /control/],
])('%s is refused', async (_, external, message) => {
  const failure = open(external, undefined, { allowMissingExternalData: true });
  await expect(failure).rejects.toThrow(InvalidModelError);
  await expect(failure).rejects.toThrow(message);
});
