import { expect, test } from 'vitest';
import { ShapeError } from '../errors.ts';
import type { DataType } from '../tensor/dtype.ts';
import { toNumbers } from './elements.ts';

const cases: [DataType, ArrayLike<number>, number[]][] = [
  ['float32', new Uint8Array(Float32Array.of(1.5, -2).buffer), [1.5, -2]],
  ['float64', new Uint8Array(Float64Array.of(0.1).buffer), [0.1]],
  ['float16', [0x00, 0x3c, 0x01, 0x80], [1, -(2 ** -24)]],
  ['bfloat16', [0xc0, 0x3f], [1.5]],
  ['int64', new Uint8Array(BigInt64Array.of(-1n, 2n ** 40n, 2n ** 63n - 1n).buffer), [-1, 2 ** 40, 2 ** 63]],
  ['uint64', new Uint8Array(8).fill(255), [2 ** 64]],
  ['int32', new Uint8Array(Int32Array.of(-7).buffer), [-7]],
  ['uint32', new Uint8Array(4).fill(255), [2 ** 32 - 1]],
  ['int16', [0xff, 0xff], [-1]],
  ['uint16', [0xff, 0xff], [65535]],
  ['int8', [0x80, 0x7f], [-128, 127]],
  ['uint8', [0x80], [128]],
  ['int4', [0x7f, 0x08], [-1, 7, -8]],
  ['uint4', [0x7f, 0x08], [15, 7, 8]],
  ['bool', [0, 1, 2], [0, 1, 1]],
];

test.each(cases)('%s', (dtype, bytes, numbers) => {
  // At an odd address, as in a file.
  const file = new Uint8Array(bytes.length + 1);
  file.set(Array.from(bytes), 1);
  expect([...toNumbers(dtype, file.subarray(1), numbers.length)]).toEqual(numbers);
});

test('too few bytes and strings are refused', () => {
  expect(() => toNumbers('float32', new Uint8Array(7), 2)).toThrow(ShapeError);
  expect(() => toNumbers('string', new Uint8Array(8), 1)).toThrow(ShapeError);
});
