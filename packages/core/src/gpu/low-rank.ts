import { ShapeError } from '../errors.ts';
import type { WeightUses } from '../graph/weight-uses.ts';
import mergeSource from '../kernels/low-rank/merge.wgsl';
import { fileStorage } from '../plan/storage.ts';
import type { Storage } from '../plan/plan.ts';
import { sizeOf } from '../tensor/shape.ts';
import { CustomKernel } from './custom-kernel.ts';
import type { Engine } from './engine.ts';

const WORKGROUP = 256;

/** Adds `scale · up · down` to a weight: LoRA (Hu et al. 2021, arXiv:2106.09685). */
export interface LowRankUpdate {
  readonly rank: number;
  readonly scale: number;
  /**
   * Reads `down` [rank, inFeatures, …kernel] and `up` [outFeatures, rank], row-major. Called whenever the weight is made
   * again. The same function stands for the same contents.
   */
  readonly factors: (signal?: AbortSignal) => Promise<LowRankFactors>;
}

export interface LowRankFactors {
  down: Float32Array;
  up: Float32Array;
}

/** All updates of one weight as one product: `down` [rank, columns], `up` [rows, rank] with the scales in it. */
export interface JoinedFactors {
  rank: number;
  down: Float32Array<ArrayBuffer>;
  up: Float32Array<ArrayBuffer>;
}

/**
 * Reads the factors of several updates and puts them side by side.
 *
 * @throws ShapeError where a factor has another size than the weight asks for
 */
export async function joinFactors(
  weight: WeightUses,
  updates: readonly LowRankUpdate[],
  options: { scaled: boolean; signal?: AbortSignal | undefined },
): Promise<JoinedFactors> {
  const { outFeatures: rows } = weight;
  const columns = weight.inFeatures * sizeOf(weight.kernel);
  const rank = updates.reduce((sum, update) => sum + update.rank, 0);
  const down = new Float32Array(rank * columns);
  const up = new Float32Array(rows * rank);
  let at = 0;
  for (const update of updates) {
    const factors = await update.factors(options.signal);
    checkLength(`down of an update of '${weight.name}'`, factors.down, update.rank, columns);
    checkLength(`up of an update of '${weight.name}'`, factors.up, rows, update.rank);
    down.set(factors.down, at * columns);
    const scale = options.scaled ? update.scale : 1;
    for (let row = 0; row < rows; row++) {
      for (let r = 0; r < update.rank; r++) {
        up[row * rank + at + r] = factors.up[row * update.rank + r]! * scale;
      }
    }
    at += update.rank;
  }
  return { rank, down, up };
}

function checkLength(where: string, values: Float32Array, rows: number, columns: number): void {
  if (values.length === rows * columns) return;
  throw new ShapeError(where, {
    expected: `${rows} × ${columns} numbers`,
    actual: String(values.length),
  });
}

/** Merges low-rank updates into the bytes of weights on the GPU. */
export class LowRankMerge {
  readonly #engine: Engine;
  readonly #kernels = new Map<Storage, Promise<CustomKernel>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Submits `to = from + Σ scale · up · down`, computed in f32 and rounded once to the file's dtype. The two buffers are
   * as large as the file's tensor.
   */
  async run(
    weight: WeightUses,
    updates: readonly LowRankUpdate[],
    buffers: { from: GPUBuffer; to: GPUBuffer },
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { buffers: pool, device } = this.#engine;
    const joined = await joinFactors(weight, updates, { scaled: true, signal });
    const kernel = await this.#kernel(fileStorage[weight.dtype as keyof typeof fileStorage]);
    const upload = (data: Float32Array<ArrayBuffer>, label: string): GPUBuffer => {
      const buffer = pool.acquire(Math.max(16, Math.ceil(data.byteLength / 16) * 16), label);
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    };
    const elements = sizeOf(weight.shape);
    const [outStride, inStride, tapStride] = weight.strides;
    const down = upload(joined.down, 'down');
    const up = upload(joined.up, 'up');
    try {
      await this.#engine.until(pool.settled([down, up]), signal);
      kernel.run(
        { weight: buffers.from, down, up, result: buffers.to },
        {
          elements, outs: weight.outFeatures, ins: weight.inFeatures, taps: sizeOf(weight.kernel),
          outStride, inStride, tapStride, rank: joined.rank,
        },
        Math.ceil(elements / (4 * WORKGROUP)),
      ); // prettier-ignore
    } finally {
      pool.destroy(down);
      pool.destroy(up);
    }
  }

  #kernel(storage: Storage): Promise<CustomKernel> {
    const known = this.#kernels.get(storage);
    if (known) return known;
    const made = CustomKernel.create(this.#engine, {
      name: `low_rank_merge_${storage}`,
      body: `${storage === 'bf16' ? putBfloat16 : putAsIs}\n${mergeSource}`,
      inputs: { weight: storage, down: 'f32', up: 'f32' },
      outputs: { result: storage === 'bf16' ? 'u32' : storage },
      params: {
        elements: 'u32', outs: 'u32', ins: 'u32', taps: 'u32',
        outStride: 'u32', inStride: 'u32', tapStride: 'u32', rank: 'u32',
      },
      constants: { WORKGROUP },
    }); // prettier-ignore
    this.#kernels.set(storage, made);
    return made;
  }

  dispose(): void {
    for (const kernel of this.#kernels.values()) {
      void kernel.then((made) => made.dispose(), () => {}); // prettier-ignore
    }
    this.#kernels.clear();
  }
}

const putAsIs = 'fn put(i: u32, v: vec4f) { result_store4(i, v); }';

/** Two to a word, rounded to nearest, ties to even. */
const putBfloat16 = `
fn rounded(v: f32) -> u32 { let bits = bitcast<u32>(v); return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u; }
fn put(i: u32, v: vec4f) {
  result_store(i >> 1u, rounded(v.x) | (rounded(v.y) << 16u));
  result_store((i >> 1u) + 1u, rounded(v.z) | (rounded(v.w) << 16u));
}`;
