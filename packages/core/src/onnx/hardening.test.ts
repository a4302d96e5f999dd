import { expect, test } from 'vitest';
import { float32, type GraphSpec, int64, model, type TensorSpec } from '../../test/onnx-writer.ts';
import { message } from './wire-writer.ts';
import { CalotypeError, InvalidModelError } from '../errors.ts';
import { mapStore } from '../source/map-store.ts';
import type { Model } from './model.ts';
import { readModel } from './reader.ts';

const read = (bytes: Uint8Array<ArrayBuffer>): Promise<Model> =>
  readModel(mapStore({ 'model.onnx': bytes }), 'model.onnx');

const ascii = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (c) => c.charCodeAt(0));
const tensor = (spec: TensorSpec): Uint8Array<ArrayBuffer> => model({ initializers: { w: spec } });
const bytes = (...values: number[]): Uint8Array<ArrayBuffer> => Uint8Array.from(values);

function nested(depth: number): GraphSpec {
  return depth === 0
    ? {}
    : { nodes: [{ op: 'If', attributes: { then_branch: { graph: nested(depth - 1) } } }] };
}

/** Around a small message, so that its nesting is seen by the walk over the structure too. */
const bulky = (depth: number): GraphSpec =>
  depth === 0
    ? { initializers: { w: { dtype: 'uint8', dims: [9000], raw: new Uint8Array(9000) } } }
    : { nodes: [{ op: 'If', attributes: { then_branch: { graph: bulky(depth - 1) } } }] };

test.each<[string, Uint8Array<ArrayBuffer>, RegExp]>([
  ['an empty file', bytes(), /is empty/],
  ['an HTML page', ascii('\n<!DOCTYPE html><html>404'), /HTML page/],
  [
    'a git-LFS pointer',
    ascii('version https://git-lfs.github.com/spec/v1\noid sha256:00'),
    /git-LFS pointer/,
  ],
  ['JSON', ascii('{"error":"not found"}'), /JSON/],
  ['safetensors', ascii('\x40\x01\0\0\0\0\0\0{"a":{"dtype":"F32"}}'), /safetensors/],
  ['GGUF', ascii('GGUF\x03\0\0\0'), /GGUF/],
  ['a checkpoint', ascii('PK\x03\x04\0\0'), /zip/],
  ['plain text', ascii('hello world, this is no model'), /damaged|protobuf/],
  ['a file without graph', bytes(0x08, 0x08), /no graph/],
  ['zeros', new Uint8Array(100), /protobuf/],
  ['a varint without end', bytes(0x08, 0x80, 0x80), /no end/],
  ['a varint over 64 bits', bytes(0x08, ...Array<number>(9).fill(0xff), 0x02), /64 bits/],
  ['a varint over ten bytes', bytes(0x08, ...Array<number>(11).fill(0x80), 0), /64 bits/],
  ['a length beyond the end', bytes(0x3a, 0x7f, 0), /127 bytes announced, 1 left/],
  ['a length of 2^63', bytes(0x3a, ...Array<number>(8).fill(0x80), 0x80, 0x01), /announced/],
  ['a group', bytes(0x3b), /protobuf/],
  ['a wrong wire type', bytes(0x38, 0x01), /wire type 0/],
  ['two graphs', Uint8Array.of(...model({}), ...model({})), /two graphs/],
  [
    'an unknown element type',
    Uint8Array.from(message(7, [message(5, [bytes(0x10, 99)])])),
    /element type 99/,
  ],
  ['a sparse initializer', Uint8Array.from(message(7, [message(15, [])])), /sparse/],
  [
    'a negative dimension',
    tensor({ dtype: 'float32', dims: [-2, -2], raw: new Uint8Array(16) }),
    /negative dimension/,
  ],
  ['too many elements', tensor({ dtype: 'uint8', dims: [2 ** 16, 2 ** 16] }), /2\^31 elements/],
  ['an overflowing product', tensor({ dtype: 'uint8', dims: Array<number>(9).fill(2 ** 50) }), /2\^31/],
  ['absurd dimensions beside a zero', tensor({ dtype: 'uint8', dims: [0, 2 ** 50] }), /2\^31/],
  [
    'data too short',
    tensor({ dtype: 'float32', dims: [3], raw: new Uint8Array(8) }),
    /8 bytes of data where .* has 12/,
  ],
  [
    'large data too long',
    tensor({ dtype: 'float32', dims: [3], raw: new Uint8Array(8000) }),
    /8000 bytes of data/,
  ],
  ['no data', tensor({ dtype: 'float32', dims: [3] }), /0 bytes of data/],
  ['two kinds of data', tensor({ ...float32([1], [1]), floats: [1] }), /both/],
  ['the wrong field', tensor({ dtype: 'float32', dims: [1], int64s: [1] }), /int64_data cannot hold float32/],
  ['too few strings', tensor({ dtype: 'string', dims: [3], strings: ['a'] }), /1 strings for 3/],
  ['external and inline data', tensor({ ...float32([1], [1]), external: { location: 'w' } }), /external/],
  ['an initializer without name', model({ initializers: { '': float32([1], [1]) } }), /without a name/],
  ['a node without operator', model({ nodes: [{ op: '' }] }), /names no operator/],
  ['two inputs of a name', model({ inputs: [{ name: 'x' }, { name: 'x' }] }), /two graph inputs named 'x'/],
  [
    'two producers of a value',
    model({ nodes: ['a', 'b'].map((name) => ({ op: 'Neg', name, outputs: ['y', ''] })) }),
    /'y' is produced twice, once by Neg 'b'/,
  ],
  [
    'a node that produces an input',
    model({ inputs: [{ name: 'x' }], nodes: [{ op: 'Neg', outputs: ['x'] }] }),
    /twice/,
  ],
  ['two opsets of a domain', model({ opsets: { '': 17, 'ai.onnx': 18 } }), /opset 17 and opset 18/],
  [
    'the same function twice',
    model({ functions: [0, 1].map(() => ({ name: 'f', domain: 'd' })) }),
    /two functions/,
  ],
  ['nesting', model(nested(60)), /nested/],
  ['bulky nesting', model(bulky(60)), /nested/],
])('%s', async (_, file, wanted) => {
  const failure = read(file);
  await expect(failure).rejects.toThrow(InvalidModelError);
  await expect(failure).rejects.toThrow(wanted);
  await expect(failure).rejects.toMatchObject({ file: 'model.onnx', offset: expect.any(Number) });
});

test('unknown fields and moderate nesting are fine', async () => {
  const extra = message(99, [new Uint8Array(10_000)]);
  const file = Uint8Array.of(...extra, ...model(nested(20)), ...extra, 0x98, 0x06, 0x01);
  expect((await read(file)).graph.nodes).toHaveLength(1);
});

/** mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('2,000 damaged files each parse or fail with our error', async () => {
  const sound = model({
    opsets: { '': 17, 'com.microsoft': 1 },
    nodes: [
      {
        op: 'Conv',
        name: 'conv',
        inputs: ['x', 'w'],
        outputs: ['a'],
        attributes: { pads: { ints: [1, 1, 1, 1] } },
      },
      { op: 'Constant', outputs: ['c'], attributes: { value: { tensor: int64([2], [1, -1]) } } },
      { op: 'If', inputs: ['p'], outputs: ['b'], attributes: { then_branch: { graph: nested(2) } } },
      {
        op: 'Gelu',
        domain: 'com.microsoft',
        inputs: ['a'],
        outputs: ['y'],
        attributes: { alpha: { float: 1 } },
      },
    ],
    inputs: [{ name: 'x', dtype: 'float32', shape: ['batch', 3, 8, 8] }],
    outputs: [{ name: 'y', dtype: 'float32' }],
    initializers: {
      w: { dtype: 'float32', dims: [4, 3, 10, 10], raw: new Uint8Array(4800) },
      h: { dtype: 'float16', dims: [4], int32s: [1, 2, 3, 4] },
      e: { dtype: 'float32', dims: [4], external: { location: 'w.bin', offset: '16' } },
    },
    functions: [{ name: 'f', domain: 'd', nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }] }],
  });
  const next = random(20_240_607);
  const weights = new Uint8Array(64);
  let parsed = 0;
  const started = performance.now();
  for (let run = 0; run < 2000; run++) {
    const isCut = run % 4 === 0;
    const file = isCut ? sound.slice(0, Math.floor(next() * sound.length)) : sound.slice();
    for (let flips = isCut ? 0 : 1 + Math.floor(next() * 3); flips > 0; flips--) {
      // Most of the file is the weight in the middle: look for the structure around it half of the time.
      const at = Math.floor(next() * (next() < 0.5 ? 600 : file.length));
      file[at]! ^= 1 << Math.floor(next() * 8);
    }
    try {
      await readModel(mapStore({ 'model.onnx': file, 'w.bin': weights }), 'model.onnx');
      parsed++;
    } catch (error) {
      if (!(error instanceof CalotypeError)) throw error;
    }
  }
  expect(parsed).toBeGreaterThan(100);
  expect(performance.now() - started).toBeLessThan(20_000);
});
