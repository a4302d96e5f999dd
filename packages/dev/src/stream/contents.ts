/** Bytes of the streamed model's weights: element `i` of the file, as a 32-bit integer, is a hash of `i`. */
export function fillContents(out: Uint32Array, first: number): void {
  for (let i = 0; i < out.length; i++) {
    let x = Math.imul(first + i, 0x9e3779b9);
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    out[i] = x ^ (x >>> 15);
  }
}

/** Rows of every tensor. */
export const rows = 1024;
/** Elements of a row: 64 KiB. */
export const columns = 16_384;
/** 64 MiB. */
export const tensorBytes: number = rows * columns * 4;
export const weightsFile = 'weights.bin';
export const modelFile = 'model.onnx';
