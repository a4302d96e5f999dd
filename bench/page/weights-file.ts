import { urlStore } from '@calotype/core';
import { readModel, type FileStore } from '@calotype/core/tools';
import { hashedWeights } from '@calotype/dev/hashed-weights';

/** The fixtures, with the weights that are left out of `graph` made on the GPU. */
export async function graphStore(graph: string): Promise<FileStore> {
  const store = urlStore(new URL('/fixtures/', location.href).href);
  const list = `${graph}.weights.json`;
  if (!(await store.has(list))) return store;
  return (await hashedWeights(store, `${graph}.onnx`, list, { onGpu: true })).store;
}

/** The files of weights that `graph` points at, by the names that it knows them by; those that are left out are filled. */
export async function weightFiles(graph: string, device: GPUDevice): Promise<{ path: string; data: Blob }[]> {
  const fixtures = urlStore(new URL('/fixtures/', location.href).href);
  const { graph: read } = await readModel(fixtures, `${graph}.onnx`, { allowMissingExternalData: true });
  const files = new Map<string, { offset: number; length: number }[]>();
  for (const { data } of read.initializers.values()) {
    if (data.kind !== 'missing') continue;
    files.set(data.location, [...(files.get(data.location) ?? []), data]);
  }
  const store = await graphStore(graph);
  return Promise.all(
    [...files].map(async ([location, spans]) => {
      const source = await store.open(location);
      const parts: BlobPart[] = [];
      let end = 0;
      for (const { offset, length } of spans.toSorted((a, b) => a.offset - b.offset)) {
        if (offset > end) parts.push(new Uint8Array(offset - end));
        parts.push(await filled(device, length, (buffer) => source.writeTo!(device, buffer, offset, length)));
        end = offset + length;
      }
      return { path: location.split('/').at(-1)!, data: new Blob(parts) };
    }),
  );
}

async function filled(device: GPUDevice, length: number, fill: (buffer: GPUBuffer) => void): Promise<Blob> {
  const size = Math.ceil(length / 4) * 4;
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const made = device.createBuffer({ size, usage: STORAGE | COPY_SRC });
  const mapped = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  fill(made);
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(made, 0, mapped, 0, size);
  device.queue.submit([encoder.finish()]);
  await mapped.mapAsync(GPUMapMode.READ);
  const blob = new Blob([mapped.getMappedRange(0, size).slice(0, length)]);
  made.destroy();
  mapped.destroy();
  return blob;
}
