import { describe, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors, type SafeTensor } from './safetensors.ts';

const tensors: [string, SafeTensor][] = [
  ['a', { dtype: 'F32', shape: [2, 3], data: new Uint8Array(24).fill(7) }],
  ['größe', { dtype: 'I64', shape: [], data: new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]) }],
  ['empty', { dtype: 'F16', shape: [0, 5], data: new Uint8Array(0) }],
  ['flag', { dtype: 'BOOL', shape: [1], data: new Uint8Array([1]) }],
];

function file(header: unknown, bodyBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + bodyBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

describe('safetensors', () => {
  test('a file reads back as written', () => {
    expect([...readSafetensors(writeSafetensors(tensors))]).toEqual(tensors);
  });

  test('reads from the middle of a larger buffer', () => {
    const bytes = writeSafetensors(tensors);
    const padded = new Uint8Array(bytes.length + 3);
    padded.set(bytes, 3);
    expect([...readSafetensors(padded.subarray(3))]).toEqual(tensors);
  });

  test.each([
    { name: 'too short', bytes: new Uint8Array(4), message: /length field/ },
    { name: 'truncated', bytes: writeSafetensors(tensors).slice(0, -1), message: /ends at|belong/ },
    {
      name: 'absurd header length',
      bytes: new Uint8Array([255, 255, 255, 255, 255, 255, 255, 255, 0]),
      message: /header of/,
    },
    { name: 'header not JSON', bytes: file('{"a"', 0), message: /JSON/ },
    { name: 'header not an object', bytes: file([], 0), message: /not an object/ },
    {
      name: 'unknown dtype',
      bytes: file({ a: { dtype: 'F7', shape: [1], data_offsets: [0, 1] } }, 1),
      message: /unknown dtype/,
    },
    {
      name: 'dtype from the prototype',
      bytes: file({ a: { dtype: 'toString', shape: [], data_offsets: [0, 0] } }, 0),
      message: /unknown dtype/,
    },
    {
      name: 'size against shape',
      bytes: file({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 4] } }, 4),
      message: /spans 4 bytes, not 8/,
    },
    {
      name: 'negative dimension',
      bytes: file({ a: { dtype: 'U8', shape: [-1], data_offsets: [0, 0] } }, 0),
      message: /malformed/,
    },
    {
      name: 'overlap',
      bytes: file(
        {
          a: { dtype: 'U8', shape: [2], data_offsets: [0, 2] },
          b: { dtype: 'U8', shape: [2], data_offsets: [1, 3] },
        },
        3,
      ),
      message: /overlap/,
    },
    {
      name: 'bytes of no tensor',
      bytes: file({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }, 3),
      message: /belong to no tensor/,
    },
  ])('refuses: $name', ({ bytes, message }) => expect(() => readSafetensors(bytes)).toThrow(message));

  test('refuses to write a tensor whose size disagrees with its shape', () => {
    expect(() => writeSafetensors([['a', { dtype: 'F32', shape: [2], data: new Uint8Array(4) }]])).toThrow(
      /spans 4 bytes, not 8/,
    );
  });
});
