import { expect, test } from 'vitest';
import { ChunkFolder } from './chunk-folder.ts';

const gone = () => Promise.reject(new DOMException('it is gone', 'NotFoundError'));

function folderOf(files: Record<string, () => Promise<{ size: number }>>): FileSystemDirectoryHandle {
  return {
    async *entries() {
      for (const [name, getFile] of Object.entries(files)) yield [name, { kind: 'file', getFile }];
    },
  } as unknown as FileSystemDirectoryHandle;
}

test('sizes are those of the chunks that are there', async () => {
  const files = { 0: async () => ({ size: 5 }), 1: gone, 2: async () => ({ size: 7 }), '2.crswap': gone };
  expect(await new ChunkFolder(folderOf(files), 'model.onnx').sizes()).toEqual(
    new Map([
      [0, 5],
      [2, 7],
    ]),
  );
});

test('other troubles of the storage are told', async () => {
  const refused = () => Promise.reject(new DOMException('no', 'NotReadableError'));
  await expect(new ChunkFolder(folderOf({ 0: refused }), 'model.onnx').sizes()).rejects.toThrow('no');
});
