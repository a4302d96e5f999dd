import { InvalidModelError } from '../errors.ts';
import { toNumbers } from '../onnx/elements.ts';
import type { TensorRef } from '../onnx/model.ts';
import { bytesOf } from '../tensor/dtype.ts';
import type { Engine } from './engine.ts';
import { WeightReader } from './weight-reader.ts';

/** Bytes given to `writeBuffer` before waiting for the device to take them: what its staging may hold at once. */
const IN_FLIGHT_BYTES = 128 * 2 ** 20;

/** Copies constants from their files into buffers, piece by piece, as the files have them. */
export class WeightUpload {
  readonly #engine: Engine;
  readonly #reader: WeightReader;
  readonly #signal: AbortSignal | undefined;
  readonly #onBytes: (bytes: number) => void;
  #inFlight = 0;

  /**
   * @param refs what will be uploaded, in that order
   * @param onBytes hears of every piece that was handed to the device
   */
  constructor(
    engine: Engine,
    refs: readonly TensorRef[],
    options: { signal: AbortSignal | undefined; onBytes: (bytes: number) => void },
  ) {
    this.#engine = engine;
    this.#signal = options.signal;
    this.#onBytes = options.onBytes;
    this.#reader = new WeightReader(
      refs.filter((ref) => converterOf(ref) || !makesItself(ref)),
      options.signal,
    );
  }

  /** @throws InvalidModelError for contents that are not there, SourceError, DeviceLostError, the signal's reason */
  async upload(ref: TensorRef, buffer: GPUBuffer): Promise<void> {
    const { data } = ref;
    const convert = converterOf(ref);
    if (!convert && data.kind === 'range' && data.source.writeTo) {
      data.source.writeTo(this.#engine.device, buffer, data.offset, data.length);
      this.#onBytes(data.length);
    } else if (data.kind === 'inline') {
      await this.#write(buffer, 0, convert?.(data.bytes) ?? data.bytes);
    } else if (data.kind === 'range') {
      for await (const { start, bytes } of this.#reader.read(ref)) {
        const at = convert ? (start / bytesOf(ref.dtype, 1)) * 4 : start;
        await this.#write(buffer, at, convert?.(bytes) ?? bytes);
      }
    } else {
      throw new InvalidModelError(
        data.kind === 'missing'
          ? `the external data of tensor '${ref.name}' is missing`
          : `tensor '${ref.name}' holds strings, which cannot go to the GPU`,
        { file: data.kind === 'missing' ? data.location : ref.name },
      );
    }
  }

  /** Cancels what is being read ahead. */
  close(): void {
    this.#reader.close();
  }

  async #write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { queue } = this.#engine.device;
    this.#engine.write(buffer, offset, bytes);
    this.#onBytes(bytes.byteLength);
    this.#inFlight += bytes.byteLength;
    if (this.#inFlight < IN_FLIGHT_BYTES) return;
    await this.#engine.until(queue.onSubmittedWorkDone(), this.#signal);
    this.#inFlight = 0;
  }
}

/** Whether the constant comes from a source that makes its bytes on the GPU. */
function makesItself({ data }: TensorRef): boolean {
  return data.kind === 'range' && data.source.writeTo !== undefined;
}

/** For dtypes that no kernel reads (64-bit floats, 16-bit integers): makes the nearest 32-bit type of raw contents. */
function converterOf(
  ref: TensorRef,
): ((raw: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) | undefined {
  const make = { float64: Float32Array, int16: Int32Array, uint16: Uint32Array, uint64: Uint32Array }[
    ref.dtype as string
  ];
  if (!make) return undefined;
  const size = bytesOf(ref.dtype, 1);
  return (raw) => new Uint8Array(make.from(toNumbers(ref.dtype, raw, raw.length / size)).buffer);
}
