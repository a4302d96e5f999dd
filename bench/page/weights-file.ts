import { urlStore } from '@calotype/core';
import { readModel, writeModel, type FileStore, type Model, type TensorRef } from '@calotype/core/tools';
import { hashedWeights } from '@calotype/dev/hashed-weights';
import { at } from './phase.ts';

type Missing = Extract<TensorRef['data'], { kind: 'missing' }>;

const fixtures = (): FileStore => urlStore(new URL('/fixtures/', location.href).href);

/** The fixtures, with the weights that are left out of `graph` made on the GPU. */
export async function graphStore(graph: string): Promise<FileStore> {
  const store = fixtures();
  const list = `${graph}.weights.json`;
  if (!(await store.has(list))) return store;
  return (await hashedWeights(store, `${graph}.onnx`, list, { onGpu: true })).store;
}

export function readGraph(graph: string): Promise<Model> {
  return readModel(fixtures(), `${graph}.onnx`, { allowMissingExternalData: true });
}

/**
 * A model as onnxruntime-web takes it, every large weight a file of its own: one file of them all may be larger than what a
 * page can hold in one piece.
 */
export async function splitModel(
  graph: string,
  model: Model,
  device: GPUDevice,
): Promise<{ bytes: Uint8Array; externalData: { path: string; data: Uint8Array }[] }> {
  const { bytes, external } = writeModel(model);
  const fill = filler(await graphStore(graph), device);
  const externalData: { path: string; data: Uint8Array }[] = [];
  for (const [path, { data }] of external) {
    if (data.kind === 'missing') externalData.push({ path, data: await fill(data) });
    if (data.kind === 'range')
      externalData.push({ path, data: await data.source.read(data.offset, data.length) });
  }
  return { bytes, externalData };
}

/**
 * The model with scales and shifts of layer norms brought to the type of what they act on. The exporter mixes them, which
 * onnxruntime refuses.
 */
export function withCastNorms(model: Model): Model {
  const nodes = model.graph.nodes.flatMap((node) => {
    if (node.op !== 'LayerNormalization') return [node];
    const [x, ...affine] = node.inputs as [string, ...string[]];
    const casts = affine.map((name, i) => ({
      ...node,
      name: `${node.name}/cast_${i}`,
      op: 'CastLike',
      inputs: [name, x],
      outputs: [`${node.outputs[0]}/cast_${i}`],
      attributes: new Map(),
    }));
    return [...casts, { ...node, inputs: [x, ...casts.map(({ outputs }) => outputs[0]!)] }];
  });
  return { ...model, graph: { ...model.graph, nodes } };
}

/** Sends the weights that are left out of a graph to `url`, each with its offset in their file. */
export async function sendWeights(graph: string, url: string, device: GPUDevice): Promise<void> {
  const { initializers } = (await readGraph(graph)).graph;
  const fill = filler(await graphStore(graph), device);
  for (const [name, { data }] of initializers) {
    if (data.kind !== 'missing') continue;
    at(`sending ${name} of ${graph}`);
    await fetch(`${url}?offset=${data.offset}`, { method: 'POST', mode: 'no-cors', body: await fill(data) });
  }
}

/** Makes the bytes of weights on the GPU and copies them back. */
function filler(store: FileStore, device: GPUDevice): (data: Missing) => Promise<Uint8Array<ArrayBuffer>> {
  return async ({ location, offset, length }) => {
    const source = await store.open(location);
    const size = Math.ceil(length / 4) * 4;
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const made = device.createBuffer({ size, usage: STORAGE | COPY_SRC });
    const mapped = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    source.writeTo!(device, made, offset, length);
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(made, 0, mapped, 0, size);
    device.queue.submit([encoder.finish()]);
    await mapped.mapAsync(GPUMapMode.READ);
    const bytes = new Uint8Array(mapped.getMappedRange(0, size)).slice(0, length);
    made.destroy();
    mapped.destroy();
    return bytes;
  };
}
