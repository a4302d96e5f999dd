import { describe, expect, test } from 'vitest';
import type { TensorRef } from '../onnx/model.ts';
import type { ByteSource } from '../source/source.ts';
import { WeightReader } from './weight-reader.ts';

const KiB = 2 ** 10;
const MiB = 2 ** 20;

const pattern = Uint8Array.from({ length: 16 * MiB + 251 }, (_, i) => i % 251);

/** A file whose byte at i is i mod 251, that remembers what was asked of it. */
class PatternSource implements ByteSource {
  readonly name = 'weights';
  readonly requests: { offset: number; length: number }[] = [];
  open = 0;
  mostOpen = 0;

  async size(): Promise<number> {
    return 2 ** 40;
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    this.requests.push({ offset, length });
    this.mostOpen = Math.max(this.mostOpen, ++this.open);
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.open--;
    signal?.throwIfAborted();
    return pattern.slice(offset % 251, (offset % 251) + length);
  }

  get bytes(): number {
    return this.requests.reduce((sum, { length }) => sum + length, 0);
  }
}

const tensor = (source: ByteSource, offset: number, length: number): TensorRef => ({
  name: `at ${offset}`,
  dtype: 'uint8',
  dims: [length],
  data: { kind: 'range', source, offset, length },
});

/** Reads a tensor and checks its contents at a few places. */
async function check(reader: WeightReader, ref: TensorRef): Promise<void> {
  if (ref.data.kind !== 'range') throw new Error('not a range');
  const { offset, length } = ref.data;
  let at = 0;
  for await (const { start, bytes } of reader.read(ref)) {
    expect(start).toBe(at);
    for (const i of [0, bytes.length >> 1, bytes.length - 1])
      expect(bytes[i]).toBe((offset + start + i) % 251);
    at += bytes.length;
  }
  expect(at).toBe(length);
}

describe('weight reader', () => {
  test('fetches neighbours together, also out of order', async () => {
    const source = new PatternSource();
    const refs = [3, 1, 0, 2].map((i) => tensor(source, i * 10_000, 9_000));
    const reader = new WeightReader(refs, undefined);
    for (const ref of refs) await check(reader, ref);
    expect(source.requests).toEqual([{ offset: 0, length: 39_000 }]);
  });

  test('leaves out what lies far between', async () => {
    const source = new PatternSource();
    const refs = [tensor(source, 0, KiB), tensor(source, 200 * KiB, KiB)];
    const reader = new WeightReader(refs, undefined);
    for (const ref of refs) await check(reader, ref);
    expect(source.bytes).toBe(2 * KiB);
  });

  test('cuts large tensors into pieces and reads ahead, several at once', async () => {
    const source = new PatternSource();
    const refs = [0, 1, 2].map((i) => tensor(source, i * 40 * MiB, 40 * MiB));
    const reader = new WeightReader(refs, undefined);
    for (const ref of refs) await check(reader, ref);
    expect(Math.max(...source.requests.map(({ length }) => length))).toBeLessThanOrEqual(16 * MiB);
    expect(source.bytes).toBe(120 * MiB);
    expect(source.mostOpen).toBeGreaterThan(1);
  });

  test('reads a tensor that is wanted twice', async () => {
    const source = new PatternSource();
    const ref = tensor(source, 5, 1000);
    const reader = new WeightReader([ref, ref], undefined);
    await check(reader, ref);
    await check(reader, ref);
    expect(source.bytes).toBe(1000);
  });

  test('a file in another order than wanted is read about once, with bounded memory', async () => {
    const source = new PatternSource();
    // Of each 16 MiB one piece is wanted early and the rest late: half-read stretches pile up.
    const early = Array.from({ length: 12 }, (_, i) => tensor(source, i * 16 * MiB, MiB));
    const late = Array.from({ length: 12 }, (_, i) => tensor(source, i * 16 * MiB + MiB, 15 * MiB));
    const reader = new WeightReader([...early, ...late], undefined);
    let most = 0;
    for (const ref of [...early, ...late]) {
      await check(reader, ref);
      most = Math.max(most, reader.bytesInMemory);
    }
    expect(most).toBeLessThanOrEqual(160 * MiB);
    expect(reader.bytesInMemory).toBe(0);
    expect(source.bytes).toBeLessThan(2 * 12 * 16 * MiB);
  });

  test('stops at an abort and when closed', async () => {
    const source = new PatternSource();
    const controller = new AbortController();
    const ref = tensor(source, 0, 64 * MiB);
    const reader = new WeightReader([ref], controller.signal);
    const reading = check(reader, ref);
    controller.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    const before = source.requests.length;
    reader.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(source.requests.length).toBe(before);
  });
});
