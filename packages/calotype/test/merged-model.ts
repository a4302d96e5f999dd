import { mapStore, readModel, type Model } from '@calotype/core';

/** A random number in [-1, 1) for an index, the same in every run. */
export function randomAt(seed: number, index: number): number {
  let x = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return ((x ^ (x >>> 15)) >>> 0) / 2 ** 31 - 1;
}

export function randoms(seed: number, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => randomAt(seed, i));
}

/** A product or convolution of a model file whose weights are float32 and inside the file. */
export interface Linear {
  /** Path of the module, as node names tell it. */
  module: string;
  outs: number;
  ins: number;
  kernel: number[];
  /** Byte position of element (out, in, tap) in the file. */
  position: (out: number, input: number, tap: number) => number;
}

/** Finds products and convolutions by the names of their nodes, which old exporters make of the modules' paths. */
export async function linearsOf(file: Uint8Array<ArrayBuffer>): Promise<Linear[]> {
  const model: Model = await readModel(mapStore({ 'model.onnx': file }), 'model.onnx');
  const found: Linear[] = [];
  for (const node of model.graph.nodes) {
    const ref = model.graph.initializers.get(node.inputs[1] ?? '');
    const path = /^\/[^/]+\/(.+)\/(?:MatMul|Gemm|Conv)$/.exec(node.name)?.[1];
    if (!ref || !path || ref.dtype !== 'float32') continue;
    const { data } = ref;
    const start =
      data.kind === 'range' ? data.offset : data.kind === 'inline' ? search(file, data.bytes) : NaN;
    const turned = node.op !== 'MatMul';
    const [first = 0, second = 0, ...kernel] = ref.dims;
    const taps = kernel.reduce((size, dim) => size * dim, 1);
    found.push({
      module: path.replaceAll('/', '.'),
      outs: turned ? first : second,
      ins: turned ? second : first,
      kernel,
      position: (o, i, tap) => start + 4 * (turned ? (o * second + i) * taps + tap : i * second + o),
    });
  }
  return found;
}

function search(file: Uint8Array, wanted: Uint8Array): number {
  for (let at = file.indexOf(wanted[0]!); at >= 0; at = file.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, i) => file[at + i] === byte)) return at;
  }
  throw new Error('The weight is not in the file.');
}

/** A copy of the file with `change` added to the weights, in doubles. */
export function merge(
  file: Uint8Array<ArrayBuffer>,
  changes: readonly { linear: Linear; change: (out: number, input: number, tap: number) => number }[],
): Uint8Array<ArrayBuffer> {
  const copy = file.slice();
  const view = new DataView(copy.buffer);
  for (const { linear, change } of changes) {
    const taps = linear.kernel.reduce((size, dim) => size * dim, 1);
    for (let o = 0; o < linear.outs; o++) {
      for (let i = 0; i < linear.ins; i++) {
        for (let tap = 0; tap < taps; tap++) {
          const at = linear.position(o, i, tap);
          view.setFloat32(at, view.getFloat32(at, true) + change(o, i, tap), true);
        }
      }
    }
  }
  return copy;
}
