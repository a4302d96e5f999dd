import type * as Ort from 'onnxruntime-web/jspi';
import type { Feed } from './inputs.ts';
import { fromNumbers, outputNumbers } from './reference.ts';

/** Expected values of a graph's outputs. */
export type Outputs = ReadonlyMap<string, { shape: readonly number[]; values: ArrayLike<number> }>;

/** A graph's outputs as onnxruntime's CPU provider computes them. */
export async function runOnCpu(
  model: Uint8Array,
  feeds: ReadonlyMap<string, Feed>,
  externalData: { path: string; data: Uint8Array }[] = [],
): Promise<Outputs> {
  // The build that core's islands load too, so that a page carries one WebAssembly the less.
  const ort = await import('onnxruntime-web/jspi');
  // Threads would need cross-origin isolation, and one is enough for graphs that fit this comparison.
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
    externalData,
  });
  try {
    const tensors: Record<string, Ort.Tensor> = {};
    for (const [name, { dtype, shape, values }] of feeds) {
      tensors[name] = new ort.Tensor(dtype as Ort.Tensor.Type, fromNumbers(dtype, values), shape);
    }
    const results = await session.run(tensors);
    return new Map(
      Object.entries(results).map(([name, { type, dims, data }]) => {
        if (type === 'string') throw new Error(`Output '${name}' holds strings.`);
        // Where the browser has Float16Array, float16 arrives as numbers instead of bits.
        const bits = type !== 'float16' || data instanceof Uint16Array;
        const values = data as ArrayLike<number> | ArrayLike<bigint>;
        return [name, { shape: dims, values: outputNumbers(bits ? type : 'float32', values) }];
      }),
    );
  } finally {
    await session.release();
  }
}
