import type { TensorRef } from '../onnx/model.ts';
import { readTensor } from '../onnx/reader.ts';
import { toNumbers } from '../onnx/elements.ts';
import { InvalidModelError } from '../errors.ts';
import type { Engine } from './engine.ts';

/** Bytes read from a file and handed to the device at a time. */
const CHUNK_BYTES = 16 * 2 ** 20;

/** Bytes given to `writeBuffer` before waiting for the device to take them: what staging may hold at once. */
const IN_FLIGHT_BYTES = 128 * 2 ** 20;

/** Copies a constant tensor from its file into a buffer, piece by piece, as the file has it. */
export class WeightUpload {
  readonly #engine: Engine;
  #inFlight = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async upload(ref: TensorRef, buffer: GPUBuffer, signal: AbortSignal | undefined): Promise<void> {
    const converted = await convertedContents(ref, signal);
    if (converted) {
      this.#write(buffer, 0, converted);
      return;
    }
    if (ref.data.kind === 'range') {
      const { source, offset, length } = ref.data;
      for (let at = 0; at < length; at += CHUNK_BYTES) {
        const chunk = await source.read(offset + at, Math.min(CHUNK_BYTES, length - at), signal);
        this.#write(buffer, at, chunk);
        await this.#throttle();
      }
      return;
    }
    if (ref.data.kind === 'inline') {
      this.#write(buffer, 0, ref.data.bytes);
      return;
    }
    throw new InvalidModelError(
      ref.data.kind === 'missing'
        ? `the file of external data '${ref.data.location}' is missing`
        : 'strings cannot go to the GPU',
      { file: ref.name },
    );
  }

  #write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    // writeBuffer takes multiples of four bytes; buffers are padded, so the last word may carry zeros.
    const whole = bytes.byteLength & ~3;
    if (whole > 0) this.#engine.device.queue.writeBuffer(buffer, offset, bytes, 0, whole);
    if (whole < bytes.byteLength) {
      const rest = new Uint8Array(4);
      rest.set(bytes.subarray(whole));
      this.#engine.device.queue.writeBuffer(buffer, offset + whole, rest);
    }
    this.#inFlight += bytes.byteLength;
  }

  async #throttle(): Promise<void> {
    if (this.#inFlight < IN_FLIGHT_BYTES) return;
    await this.#engine.device.queue.onSubmittedWorkDone();
    this.#inFlight = 0;
  }
}

/** Contents of the dtypes that no kernel reads (64-bit floats, 16-bit integers), as the nearest 32-bit type. */
async function convertedContents(
  ref: TensorRef,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const make = { float64: Float32Array, int16: Int32Array, uint16: Uint32Array, uint64: Uint32Array }[
    ref.dtype as string
  ];
  if (!make) return undefined;
  const count = ref.dims.reduce((product, dim) => product * dim, 1);
  return new Uint8Array(make.from(toNumbers(ref.dtype, await readTensor(ref, signal), count)).buffer);
}
