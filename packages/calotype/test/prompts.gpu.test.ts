import {
  bytesSource,
  createSession,
  type Engine,
  readModel,
  Tensor,
  urlStore,
  type FileStore,
  type Session,
} from '@calotype/core';
import * as ort from 'onnxruntime-web/wasm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../core/test/engine.ts';
import { interpolateEmbeddings, OptionError, TextToImagePipeline } from '../src/index.ts';
import { relativeL2 } from './numbers.ts';

ort.env.wasm.numThreads = 1;

const folder = '/fixtures/tiny-sd/';
let engine: Engine;
let pipeline: TextToImagePipeline;

let file: Uint8Array<ArrayBuffer>;

beforeAll(async () => {
  engine = await pageEngine();
  file = withBias(new Uint8Array(await (await fetch(`${folder}text_encoder/model.onnx`)).arrayBuffer()));
  const plain = urlStore(new URL(folder, location.href));
  const store: FileStore = {
    has: (path) => plain.has(path),
    open: async (path) => (path === 'text_encoder/model.onnx' ? bytesSource(path, file) : plain.open(path)),
  };
  pipeline = await TextToImagePipeline.fromPretrained(store, { engine, warmUp: false });
});
afterAll(() => pipeline?.dispose());

/** Norms that were never trained leave no mean for weighting to restore: gives all their biases the value 0.3. */
function withBias(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const name = 'c.encoder.layers.0.self_attn.k_proj.bias';
  // In a TensorProto: the name, then raw_data (field 9) of 128 bytes.
  const at = positionsOf(bytes, name)
    .map((position) => position + name.length)
    .find((end) => bytes[end] === 0x4a && bytes[end + 1] === 0x80 && bytes[end + 2] === 1)!;
  bytes.set(new Uint8Array(new Float32Array(32).fill(0.3).buffer), at + 3);
  return bytes;
}

/** Hidden states that onnxruntime gives for windows of ids. */
async function reference(windows: readonly number[][], model: Uint8Array = file): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  try {
    const ids = BigInt64Array.from(windows.flat(), BigInt);
    const results = await session.run({ input_ids: new ort.Tensor('int64', ids, [windows.length, 77]) });
    return results['last_hidden_state']!.data as Float32Array;
  } finally {
    await session.release();
  }
}

/** Start, content, end, padding: 77 ids. */
function window(content: readonly number[]): number[] {
  const { prefix, suffix, padId } = pipeline.model.encoders.get('text_encoder')!.tokenizer;
  const ids = [...prefix, ...content, ...suffix];
  return [...ids, ...new Array<number>(77 - ids.length).fill(padId)];
}

const tokens = (text: string): number[] =>
  pipeline.model.encoders.get('text_encoder')!.tokenizer.encodeContent(text);

/** Weights of tokens multiplied in and the mean of each window restored, in doubles. */
function weighed(hidden: Float32Array, weights: readonly number[][]): Float64Array {
  const result = Float64Array.from(hidden);
  const elements = hidden.length / weights.length;
  const channels = elements / 77;
  weights.forEach((own, w) => {
    const sum = (): number => result.subarray(w * elements, (w + 1) * elements).reduce((a, b) => a + b, 0);
    const before = sum();
    for (let i = 0; i < elements; i++) result[w * elements + i]! *= own[Math.floor(i / channels)]!;
    const factor = before / sum();
    for (let i = 0; i < elements; i++) result[w * elements + i]! *= factor;
  });
  return result;
}

async function embedded(
  prompt: string,
  options: object = {},
): Promise<{ shape: number[]; data: Float32Array }> {
  const { promptEmbeds } = await pipeline.encodePrompt({ prompt, guidanceScale: 1, ...options });
  const data = await promptEmbeds.data();
  const shape = [...promptEmbeds.shape];
  promptEmbeds.dispose();
  return { shape, data };
}

describe('a prompt', () => {
  test('with emphasis: weights multiply hidden states, the mean stays', async () => {
    const parts = [tokens('a '), tokens('red'), tokens(' cat on a '), tokens('roof')];
    const values = [1, 1.3, 1, 1 / 1.1];
    const hidden = await reference([window(parts.flat())]);
    const weights = new Array<number>(77).fill(1);
    parts.flatMap((part, i) => part.map(() => values[i]!)).forEach((value, i) => (weights[i + 1] = value));
    const { shape, data } = await embedded('a (red:1.3) cat on a [roof]');
    expect(shape).toEqual([1, 77, 32]);
    expect(relativeL2(data, weighed(hidden, [weights]))).toBeLessThan(1e-5);
    expect(relativeL2(data, hidden)).toBeGreaterThan(1e-3);
  });

  test('with emphasis: false takes brackets as text', async () => {
    const hidden = await reference([window(tokens('a (red:1.3) cat'))]);
    const { data } = await embedded('a (red:1.3) cat', { emphasis: false });
    expect(relativeL2(data, hidden)).toBeLessThan(1e-5);
  });

  test('beyond 77 tokens goes on in further windows, each with its ends, weights in their places', async () => {
    const words = Array.from({ length: 60 }, (_, i) => ['cat', 'dog', 'bird'][i % 3]!).join(' ');
    const all = [...tokens(words), ...tokens(' tail')];
    const strong = all.map((_, i) => (i < tokens(words).length ? 1 : 0.5));
    const count = Math.ceil(all.length / 75);
    expect(count).toBeGreaterThan(1);
    const each = Array.from({ length: count }, (_, i) => [i * 75, (i + 1) * 75] as const);
    const hidden = await reference(each.map(([from, to]) => window(all.slice(from, to))));
    const weights = each.map(([from, to]) => {
      const own = [1, ...strong.slice(from, to)];
      return [...own, ...new Array<number>(77 - own.length).fill(1)];
    });
    const { shape, data } = await embedded(`${words}( tail:0.5)`);
    expect(shape).toEqual([1, count * 77, 32]);
    expect(relativeL2(data, weighed(hidden, weights))).toBeLessThan(1e-5);
    // diffusers cuts.
    const cut = await embedded(words, { maxPromptChunks: 1 });
    expect(relativeL2(cut.data, hidden.subarray(0, hidden.length / count))).toBeLessThan(1e-5);
  });

  test('and its negative prompt get equally many windows', async () => {
    const long = new Array<string>(80).fill('cat').join(' ');
    const { promptEmbeds, negativePromptEmbeds } = await pipeline.encodePrompt({
      prompt: long,
      negativePrompt: 'dog',
    });
    expect(negativePromptEmbeds!.shape).toEqual(promptEmbeds.shape);
    const empty = Array.from({ length: promptEmbeds.shape[1]! / 77 - 1 }, () => window([]));
    const hidden = await reference([window(tokens('dog')), ...empty]);
    expect(relativeL2(await negativePromptEmbeds!.data(), hidden)).toBeLessThan(1e-5);
    promptEmbeds.dispose();
    negativePromptEmbeds!.dispose();
  });

  test('makes pictures in any length, and nothing else is read back', async () => {
    const long = new Array<string>(80).fill('(cat:1.2)').join(' ');
    const reads = engine.readBack.count;
    const { images } = await pipeline.generate({
      prompt: long,
      numInferenceSteps: 2,
      width: 64,
      height: 64,
      seed: 1,
      output: 'imageData',
    });
    expect(images[0]!.width).toBe(64);
    // The picture itself.
    expect(engine.readBack.count - reads).toBe(1);
  });
});

describe('clipSkip', () => {
  test('takes an earlier layer through the final norm', async () => {
    const { graph } = await readModel(urlStore(new URL(folder, location.href)), 'text_encoder/model.onnx');
    const streams = graph.nodes
      .filter(({ op, name }) => op === 'Add' && /layers\.\d+\/Add_1$/.test(name))
      .map(({ outputs }) => outputs[0]!);
    const norm = graph.nodes.find(({ name }) => name.includes('final_layer_norm'))!;
    expect(norm.inputs[0]).toBe(streams.at(-1));
    for (const skip of [1, 2]) {
      // The same graph with the final norm reading another layer: names of equal length, in that node only.
      const copy = file.slice();
      const [from, to] = [streams.at(-1)!, streams.at(-1 - skip)!];
      const nodeAt = positionsOf(copy, norm.name).at(0)!;
      const at = positionsOf(copy, from)
        .filter((position) => position < nodeAt)
        .at(-1)!;
      copy.set(new TextEncoder().encode(to), at);
      const hidden = await reference([window(tokens('a cat'))], copy);
      const { data } = await embedded('a cat', { clipSkip: skip });
      expect(relativeL2(data, hidden)).toBeLessThan(1e-5);
    }
    await expect(embedded('a cat', { clipSkip: 50 })).rejects.toThrow(OptionError);
    await expect(embedded('a cat', { clipSkip: -1 })).rejects.toThrow('clipSkip');
  });
});

function positionsOf(bytes: Uint8Array, text: string): number[] {
  const wanted = new TextEncoder().encode(text);
  const found: number[] = [];
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) found.push(at);
  }
  return found;
}

describe('interpolated embeddings', () => {
  const values = (seed: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length: 2 * 1000 }, (_, i) => Math.sin(i * seed + seed));
  const onGpu = async (data: Float32Array<ArrayBuffer>): Promise<Tensor<'float32'>> => {
    const buffer = engine.buffers.acquire(data.byteLength, 'test');
    engine.device.queue.writeBuffer(buffer, 0, data);
    return new Tensor('float32', [2, 10, 100], { engine, buffer, storage: 'f32' });
  };

  test.each(['lerp', 'slerp'] as const)('%s', async (method) => {
    const [a, b] = [values(0.7), values(1.9)];
    const [ta, tb] = [await onGpu(a), await onGpu(b)];
    for (const t of [0, 0.25, 0.5, 1]) {
      const expected = new Float64Array(2000);
      for (const row of [0, 1]) {
        const range = Array.from({ length: 1000 }, (_, i) => row * 1000 + i);
        const dot = (x: Float32Array, y: Float32Array): number =>
          range.reduce((sum, i) => sum + x[i]! * y[i]!, 0);
        const angle = Math.acos(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)));
        const [wa, wb] =
          method === 'lerp'
            ? [1 - t, t]
            : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
        for (const i of range) expected[i] = wa * a[i]! + wb * b[i]!;
      }
      using result = await interpolateEmbeddings(ta, tb, t, method);
      expect(relativeL2(await result.data(), expected)).toBeLessThan(1e-5);
    }
    ta.dispose();
    tb.dispose();
  });

  test('go into a generation, and need equal shapes', async () => {
    const cat = await pipeline.encodePrompt({ prompt: 'a cat' });
    const dog = await pipeline.encodePrompt({ prompt: new Array<string>(80).fill('dog').join(' ') });
    await expect(interpolateEmbeddings(cat.promptEmbeds, dog.promptEmbeds, 0.5)).rejects.toThrow(
      'as many windows',
    );
    using same = await interpolateEmbeddings(cat.promptEmbeds, cat.promptEmbeds, 0.5);
    const latents = async (options: object): Promise<Float32Array> => {
      let last: Float32Array | undefined;
      await pipeline.generate({
        numInferenceSteps: 1, width: 64, height: 64, seed: 1, output: 'imageData', ...options,
        onStep: async (state) => {
          last = await state.latents.data();
        },
      }); // prettier-ignore
      return last!;
    };
    expect(
      relativeL2(await latents({ ...cat, promptEmbeds: same }), await latents({ prompt: 'a cat' })),
    ).toBeLessThan(1e-5);
    for (const tensor of [...Object.values(cat), ...Object.values(dog)]) (tensor as Tensor).dispose();
  });
});

test('a session keeps its outputs when others are added', async () => {
  using session: Session = await createSession(file, {
    engine,
    rewrite: (model) => ({
      ...model,
      graph: { ...model.graph, outputs: model.graph.outputs.slice(0, 1) },
    }),
  });
  expect(session.outputs).toHaveLength(1);
});
