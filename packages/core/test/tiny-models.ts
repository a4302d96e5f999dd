import type { ByteSource, FileStore } from '../src/source/source.ts';
import { float32, model, type ModelSpec } from './onnx-writer.ts';

/** `y = (x + w) · x` with a symbolic first dimension; `w` has three elements. */
export const addAndMultiply: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: ['n', 3] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: ['n', 3] }],
  initializers: { w: float32([3], [1, 2, 3]) },
  nodes: [
    { op: 'Add', inputs: ['x', 'w'], outputs: ['sum'] },
    { op: 'Mul', inputs: ['sum', 'x'], outputs: ['y'] },
  ],
};

/** `y = x · a · b` of products whose weights, 16 KiB each, are external data in `weights.bin`. */
export const twoProducts: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: ['n', 64] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: ['n', 64] }],
  initializers: {
    a: external(0),
    b: external(64 * 64 * 4),
  },
  nodes: [
    { op: 'MatMul', inputs: ['x', 'a'], outputs: ['h'] },
    { op: 'MatMul', inputs: ['h', 'b'], outputs: ['y'] },
  ],
};

function external(offset: number) {
  return {
    dtype: 'float32' as const,
    dims: [64, 64],
    external: { location: 'weights.bin', offset: String(offset), length: String(64 * 64 * 4) },
  };
}

/** A file of zeros whose reads wait until they are let through, or fail. */
export class GatedSource implements ByteSource {
  readonly name: string;
  readonly #bytes: number;
  /** Reads so far. */
  reads = 0;
  /** What reads wait for. */
  gate: Promise<void> = Promise.resolve();

  constructor(name: string, bytes: number) {
    this.name = name;
    this.#bytes = bytes;
  }

  async size(): Promise<number> {
    return this.#bytes;
  }

  async read(_offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    this.reads++;
    await this.gate;
    signal?.throwIfAborted();
    return new Uint8Array(length);
  }
}

/** A store of a model file and other files. */
export function storeOf(spec: ModelSpec, files: Record<string, ByteSource> = {}): FileStore {
  const bytes = model(spec);
  const main: ByteSource = {
    name: 'model.onnx',
    size: async () => bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
  const all = new Map(Object.entries({ 'model.onnx': main, ...files }));
  return { has: async (path) => all.has(path), open: async (path) => all.get(path)! };
}
