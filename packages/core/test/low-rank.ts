import * as ort from 'onnxruntime-web/wasm';
import { Tensor, type LowRankUpdate, type Session, type WeightInfo } from '../src/index.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import { encode, toDoubles } from '../src/tensor/tensor.ts';
import { model, type ModelSpec, type TensorSpec } from './onnx-writer.ts';
import { random } from './run-graph.ts';

ort.env.wasm.numThreads = 1;

export type FloatType = 'float32' | 'float16' | 'bfloat16';

export interface Weight {
  dims: number[];
  /** Index of element (out, in, tap) in the file. */
  index: (out: number, input: number, tap: number) => number;
  dtype?: FloatType;
}

export const inOut = (ins: number, outs: number, dtype: FloatType = 'float32'): Weight => ({
  dims: [ins, outs],
  index: (o, i) => i * outs + o,
  dtype,
});
export const outIn = (outs: number, ins: number): Weight => ({
  dims: [outs, ins],
  index: (o, i) => o * ins + i,
});
export const convolution = (outs: number, ins: number, height: number, width: number): Weight => ({
  dims: [outs, ins, height, width],
  index: (o, i, tap) => (o * ins + i) * height * width + tap,
});

const bfloat16 = (values: ArrayLike<number>): Uint16Array => {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  return Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
};

export function tensor({ dims, dtype = 'float32' }: Weight, values: ArrayLike<number>): TensorSpec {
  const data = dtype === 'bfloat16' ? bfloat16(values) : encode(dtype, values);
  return { dtype, dims, raw: new Uint8Array(data.buffer as ArrayBuffer) };
}

/** What the file holds, as doubles. */
export function stored(weight: Weight, values: ArrayLike<number>): Float64Array {
  const { dtype = 'float32' } = weight;
  const { raw } = tensor(weight, values);
  const elements = sizeOf(weight.dims);
  if (dtype === 'bfloat16') {
    const bits = Uint32Array.from(new Uint16Array(raw!.buffer), (half) => half << 16);
    return Float64Array.from(new Float32Array(bits.buffer));
  }
  const data = dtype === 'float16' ? new Uint16Array(raw!.buffer) : new Float32Array(raw!.buffer);
  return toDoubles(dtype, data, elements);
}

/** A random update together with its product in doubles. */
export function update(
  info: WeightInfo,
  rank: number,
  scale: number,
  seed: number,
): LowRankUpdate & { at: Delta } {
  const taps = sizeOf(info.kernel);
  const columns = info.inFeatures * taps;
  const down = Float32Array.from(random(rank * columns, seed));
  const up = Float32Array.from(random(info.outFeatures * rank, seed + 1));
  const at: Delta = (out, input, tap) => {
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += up[out * rank + r]! * down[r * columns + input * taps + tap]!;
    return sum;
  };
  return { rank, scale, factors: async () => ({ down, up }), at };
}

export type Delta = (out: number, input: number, tap: number) => number;

export function merged(
  info: WeightInfo,
  weight: Weight,
  base: Float64Array,
  updates: ReturnType<typeof update>[],
): Float64Array {
  const result = base.slice();
  for (let out = 0; out < info.outFeatures; out++) {
    for (let input = 0; input < info.inFeatures; input++) {
      for (let tap = 0; tap < sizeOf(info.kernel); tap++) {
        const index = weight.index(out, input, tap);
        for (const { scale, at } of updates) result[index]! += scale * at(out, input, tap);
      }
    }
  }
  return result;
}

export async function run(
  session: Session,
  shape: number[],
  data: Float32Array<ArrayBuffer>,
): Promise<Float32Array> {
  const { y } = await session.run({ x: new Tensor('float32', shape, data) });
  const result = (await y!.data()) as Float32Array;
  y!.dispose();
  return result;
}

export async function expected(spec: ModelSpec, shape: number[], data: Float32Array): Promise<Float32Array> {
  const reference = await ort.InferenceSession.create(model(spec), {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  try {
    const { y } = await reference.run({ x: new ort.Tensor('float32', data, shape) });
    return y!.data as Float32Array;
  } finally {
    await reference.release();
  }
}
