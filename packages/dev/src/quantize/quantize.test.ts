import { mkdtemp, readdir, readFile, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  readModel,
  readTensor,
  toFloat16,
  toNumbers,
  type Model,
  type TensorRef,
} from '@calotype/core/tools';
import * as ort from 'onnxruntime-web/wasm';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { fixturesDir } from '../fixtures.ts';
import { hashFill } from '../hash-fill.ts';
import { main } from './cli.ts';
import { quantizeModel } from './model.ts';
import { raiseOpset } from './opset.ts';

ort.env.wasm.numThreads = 1;

const source = `${fixturesDir}/tiny-sd`;
let folder: string | undefined;
afterEach(async () => {
  if (folder) await rm(folder, { recursive: true });
  folder = undefined;
});

async function quantized(...options: string[]): Promise<string> {
  folder = await mkdtemp(join(tmpdir(), 'quantize-'));
  const out = join(folder, 'out');
  expect(await main([source, '--out', out, ...options])).toBe(0);
  return out;
}

/** The UNet's output as onnxruntime computes it. */
async function run(path: string): Promise<Float32Array> {
  const data = await readFile(`${path}.data`).catch(() => undefined);
  const session = await ort.InferenceSession.create(new Uint8Array(await readFile(path)), {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
    externalData: data ? [{ path: 'model.onnx.data', data: new Uint8Array(data) }] : [],
  });
  try {
    const channels = 32;
    const results = await session.run({
      sample: new ort.Tensor('float32', hashFill('sample', 4 * 256), [1, 4, 16, 16]),
      timestep: new ort.Tensor('float32', Float32Array.of(981), [1]),
      encoder_hidden_states: new ort.Tensor('float32', hashFill('text', 77 * channels), [1, 77, channels]),
    });
    return Object.values(results)[0]!.data as Float32Array;
  } finally {
    await session.release();
  }
}

function relativeL2(actual: Float32Array, expected: Float32Array): number {
  let [difference, norm] = [0, 0];
  expected.forEach((value, i) => {
    difference += (actual[i]! - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

const numbersOf = async (ref: TensorRef): Promise<Float64Array> =>
  toNumbers(
    ref.dtype,
    await readTensor(ref),
    ref.dims.reduce((product, dim) => product * dim, 1),
  );

const read = (dir: string): Promise<Model> =>
  readModel(
    {
      open: async (path) => {
        const bytes = new Uint8Array(await readFile(join(dir, path)));
        return {
          name: path,
          size: async () => bytes.byteLength,
          read: async (offset, length) => bytes.slice(offset, offset + length),
        };
      },
      has: async () => true,
    },
    'unet/model.onnx',
  );

describe.each([
  ['int8', 0.02],
  ['int4', 0.3],
] as const)('%s', (weights, bar) => {
  test('onnxruntime runs it, close to the original', async () => {
    const out = await quantized('--weights', weights);
    const error = relativeL2(await run(`${out}/unet/model.onnx`), await run(`${source}/unet/model.onnx`));
    console.info(`${weights}: relative L2 ${error.toExponential(2)} from float32`);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(bar);
  }, 60_000);

  test('every weight is within half a step of what it was, and the rest of the folder is copied', async () => {
    const out = await quantized('--weights', weights);
    const [before, after] = [await read(source), await read(out)];
    const bits = weights === 'int8' ? 8 : 4;
    const products = after.graph.nodes.filter(({ op }) => op === 'MatMulNBits');
    expect(products.length).toBeGreaterThan(10);
    const number = (node: (typeof products)[number], name: string): number => {
      const attribute = node.attributes.get(name);
      return attribute?.type === 'int' ? attribute.value : NaN;
    };
    for (const node of products) {
      const [, q, scales] = node.inputs;
      const original = before.graph.initializers.get(q!.replace(/\/(rows|columns)_q$/, ''))!;
      const isTurned = q!.endsWith('/rows_q');
      const [depth, columns, block] = [number(node, 'K'), number(node, 'N'), number(node, 'block_size')];
      const [w, s] = [await numbersOf(original), await numbersOf(after.graph.initializers.get(scales!)!)];
      const bytes = await readTensor(after.graph.initializers.get(q!)!);
      const blocks = Math.ceil(depth / block);
      for (let n = 0; n < columns; n++) {
        for (let k = 0; k < depth; k++) {
          const at = (n * blocks + Math.floor(k / block)) * block + (k % block);
          const integer = bits === 8 ? bytes[at]! : (bytes[at >> 1]! >> (4 * (at & 1))) & 15;
          const scale = s[n * blocks + Math.floor(k / block)]!;
          const was = w[isTurned ? n * depth + k : k * columns + n]!;
          // At 4 bits the largest positive step is missing.
          const reach = bits === 4 ? 1.001 : 0.501;
          const off = Math.abs((integer - 2 ** (bits - 1)) * scale - was);
          if (!(off <= reach * Math.abs(scale)))
            throw new Error(`${q} [${n}, ${k}]: ${off} at a step of ${scale}`);
        }
      }
    }
    const files = async (dir: string): Promise<string[]> =>
      (await readdir(dir, { recursive: true })).filter((path) => !path.endsWith('.data')).toSorted();
    expect(await files(out)).toEqual(await files(source));
    // Too small to gain from it: left as it is.
    expect(await readFile(`${out}/text_encoder/model.onnx`)).toEqual(
      await readFile(`${source}/text_encoder/model.onnx`),
    );
  }, 60_000);
});

test('weights that are stored in float16 and cast', async () => {
  const stored = await read(source);
  const { graph } = stored;
  const halves = [...graph.initializers].filter(([, { dims }]) => dims.length >= 2);
  for (const [name, ref] of halves) {
    const bytes = new Uint8Array(Uint16Array.from(await numbersOf(ref), toFloat16).buffer);
    graph.initializers.delete(name);
    graph.initializers.set(`${name}/f16`, {
      ...ref,
      name: `${name}/f16`,
      dtype: 'float16',
      data: { kind: 'inline', bytes },
    });
  }
  graph.nodes.unshift(
    ...halves.map(([name]): (typeof graph.nodes)[number] => ({
      name, op: 'Cast', domain: '', overload: '', inputs: [`${name}/f16`], outputs: [name],
      attributes: new Map([['to', { type: 'int', value: 1 }]]),
    })),
  ); // prettier-ignore
  const made: string[] = [];
  const { model, weights } = await quantizeModel(stored, 'int4', {
    write: async (name, type, bytes) => {
      made.push(`${type.dtype} ${name}`);
      return { name, ...type, data: { kind: 'inline', bytes } };
    },
  });
  expect(weights).toBe(41);
  expect(made.filter((text) => text.endsWith('_scales')).every((text) => text.startsWith('float32 '))).toBe(
    true,
  );
  const left = [...model.graph.initializers.values()].filter(({ dtype }) => dtype === 'float16');
  expect(left).toHaveLength(halves.length - 41);
  const casts = model.graph.nodes.filter(({ inputs }) => inputs[0]?.endsWith('/f16'));
  expect(casts).toHaveLength(halves.length - 41);
});

test('bad arguments', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  folder = await mkdtemp(join(tmpdir(), 'quantize-'));
  await mkdir(join(folder, 'there'));
  await writeFile(join(folder, 'file'), '');
  for (const args of [
    [],
    [source],
    [source, '--out', join(folder, 'x'), '--weights', 'int3'],
    [source, '--out', join(folder, 'x'), '--component', 'unet=int5'],
    [source, '--out', join(folder, 'there'), '--weights', 'int4'],
    [join(folder, 'file'), '--out', join(folder, 'x'), '--weights', 'int4'],
  ]) {
    expect(await main(args), args.join(' ')).toBe(2);
  }
  expect((await readdir(folder)).toSorted()).toEqual(['file', 'there']);
});

describe('raising the operator set', () => {
  const empty = (opset: number): Model => ({
    irVersion: 8,
    producer: '',
    opsets: new Map([['', opset]]),
    graph: { name: '', nodes: [], inputs: [], outputs: [], initializers: new Map(), values: new Map() },
    functions: [],
    files: [],
  });
  const node = (op: string, attributes: Model['graph']['nodes'][number]['attributes']): Model['graph']['nodes'][number] => ({
    name: op, op, domain: '', overload: '', inputs: ['x'], outputs: [op], attributes,
  }); // prettier-ignore

  test('axes and split sizes become what they are today', () => {
    const model = empty(17);
    model.graph.nodes = [
      node('ReduceMean', new Map([['axes', { type: 'ints', value: [-1] }]])),
      node('Split', new Map()),
      node('GridSample', new Map([['mode', { type: 'string', value: 'bilinear' }]])),
    ];
    raiseOpset(model);
    const [mean, split, grid] = model.graph.nodes;
    expect(model.opsets.get('')).toBe(21);
    expect(mean!.inputs).toEqual(['x', 'ReduceMean/axes']);
    expect(mean!.attributes.size).toBe(0);
    expect(model.graph.initializers.get('ReduceMean/axes')!.dims).toEqual([1]);
    expect(split!.attributes.get('num_outputs')).toEqual({ type: 'int', value: 1 });
    expect(grid!.attributes.get('mode')).toEqual({ type: 'string', value: 'linear' });
  });

  test('what cannot be raised is refused', () => {
    expect(() => raiseOpset(empty(11))).toThrow('operator set 11');
    const model = empty(18);
    model.graph.nodes = [node('GroupNormalization', new Map())];
    expect(() => raiseOpset(model)).toThrow('GroupNormalization');
  });
});
