import { urlStore, type ByteSource, type FileStore } from '@calotype/core';
import { readModel } from '@calotype/core/tools';
import { hashFillInto, type FillStatistics } from '../../hash-fill.ts';
import { fillOnGpu } from './fill-on-gpu.ts';
import { fetchFixture, fixtureUrl } from './reference.ts';

/** A tensor that is left out, and what to fill it with. */
export interface FilledWeight extends FillStatistics {
  name: string;
  dtype: string;
}

/** One tensor's place in an external data file that does not exist. */
interface Span {
  offset: number;
  length: number;
  weight: FilledWeight;
  fill(offset: number, length: number): Uint8Array;
}

export interface HashedWeights {
  /** The store asked about, with the files that were missing. */
  store: FileStore;
  /** Tensors that are missing and not listed: ones where they scale something, else zeros. */
  unlisted: string[];
}

/**
 * Supplies the external data that `model` points at but that is not there: each file's bytes are the hash fill of the
 * tensors in it, made when they are read.
 *
 * @param list the tensors, or the fixture that lists them
 * @param options.onGpu weights are made in their buffers, gigabytes in a blink; some differ in their last bit, since
 *   the kernel computes in float32
 */
export async function hashedWeights(
  store: FileStore,
  model: string,
  list: string | readonly FilledWeight[],
  options: { onGpu?: boolean } = {},
): Promise<HashedWeights> {
  const weights = typeof list === 'string' ? await fetchList(list) : list;
  const listed = new Map(weights.map((weight) => [weight.name, weight]));
  const unlisted: string[] = [];
  const files = new Map<string, Span[]>();
  const { graph } = await readModel(store, model, { allowMissingExternalData: true });
  const factors = new Set(graph.nodes.flatMap(({ op, inputs }) => (op === 'Mul' ? inputs : [])));
  for (const { name, dtype, data } of graph.initializers.values()) {
    if (data.kind !== 'missing') continue;
    const weight = listed.get(name) ?? { name, dtype, mean: factors.has(name) ? 1 : 0, std: 0 };
    if (!listed.has(name)) unlisted.push(name);
    const spans = files.get(data.location) ?? [];
    files.set(data.location, spans);
    spans.push({
      offset: data.offset,
      length: data.length,
      weight,
      fill: filler(weight),
    });
  }
  const sources = new Map(
    [...files].map(([location, spans]) => [location, source(location, spans, options.onGpu ?? false)]),
  );
  return {
    unlisted,
    store: {
      open: async (path) => sources.get(path) ?? store.open(path),
      has: async (path) => sources.has(path) || store.has(path),
    },
  };
}

async function fetchList(path: string): Promise<FilledWeight[]> {
  const { weights } = JSON.parse(new TextDecoder().decode(await fetchFixture(path))) as {
    weights: FilledWeight[];
  };
  return weights;
}

/** Folders that a model may have a graph in. */
const components = [
  'text_encoder',
  'text_encoder_2',
  'text_encoder_3',
  'unet',
  'transformer',
  'vae_decoder',
  'vae_encoder',
  'controlnet',
];

/** The files of a model's folder, with the hash fill in place of weights that are left out. */
export async function hashedFolder(folder: string): Promise<FileStore> {
  let store: FileStore = urlStore(fixtureUrl(`${folder}/`));
  for (const component of components) {
    const list = `${component}/model.weights.json`;
    if (!(await store.has(list))) continue;
    ({ store } = await hashedWeights(store, `${component}/model.onnx`, `${folder}/${list}`));
  }
  return store;
}

/** Whether the graph points at external data that is not there. */
export async function lacksWeights(model: string): Promise<boolean> {
  const { graph } = await readModel(urlStore(fixtureUrl('')), model, { allowMissingExternalData: true });
  return [...graph.initializers.values()].some(({ data }) => data.kind === 'missing');
}

/** The bytes from `offset` on of a hash-filled tensor. */
function filler({ name, dtype, mean, std }: FilledWeight): Span['fill'] {
  if (dtype !== 'float16' && dtype !== 'float32')
    throw new Error(`Weight '${name}' cannot be filled as ${dtype}.`);
  const elementBytes = dtype === 'float16' ? 2 : 4;
  return (offset, length) => {
    const first = Math.floor(offset / elementBytes);
    const elements = Math.ceil((offset + length) / elementBytes) - first;
    const array = dtype === 'float16' ? new Uint16Array(elements) : new Float32Array(elements);
    hashFillInto(array, name, { mean, std }, first);
    return new Uint8Array(array.buffer, offset - first * elementBytes, length);
  };
}

function source(name: string, spans: Span[], onGpu: boolean): ByteSource {
  const sorted = spans.toSorted((a, b) => a.offset - b.offset);
  const size = sorted.reduce((end, span) => Math.max(end, span.offset + span.length), 0);
  const whole = new Map(sorted.map((span) => [span.offset, span]));
  const gpu: Pick<ByteSource, 'writeTo'> = {
    writeTo(device, buffer, offset, length) {
      const span = whole.get(offset);
      if (span?.length !== length) {
        throw new Error(`${name}: bytes ${offset} to ${offset + length} are no whole tensor.`);
      }
      const { weight } = span;
      fillOnGpu(device, buffer, weight.name, { ...weight, half: weight.dtype === 'float16' });
    },
  };
  return {
    ...(onGpu && gpu),
    name,
    size: async () => size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      if (offset < 0 || offset + length > size)
        throw new RangeError(`${name}: ${length} bytes from ${offset}`);
      const bytes = new Uint8Array(length);
      for (const span of sorted) {
        const from = Math.max(offset, span.offset);
        const to = Math.min(offset + length, span.offset + span.length);
        if (from < to) bytes.set(span.fill(from - span.offset, to - from), from - offset);
      }
      return bytes;
    },
  };
}
