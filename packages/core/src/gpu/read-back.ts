/** Copies from the GPU to the CPU, through staging buffers that are kept for the next time. */
export class ReadBack {
  readonly #device: GPUDevice;
  readonly #idle: GPUBuffer[] = [];
  /** Read-backs so far. Between the upload of a prompt and its picture there must be none. */
  count = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * The first `bytes` bytes of `source` (a multiple of 4), after everything submitted so far.
   *
   * Rejects when the device is lost meanwhile.
   */
  async read(source: GPUBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    this.count++;
    const staging = this.#take(bytes);
    const encoder = this.#device.createCommandEncoder({ label: 'read-back' });
    encoder.copyBufferToBuffer(source, 0, staging, 0, bytes);
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    const copy = new Uint8Array(staging.getMappedRange(0, bytes).slice(0));
    staging.unmap();
    this.#idle.push(staging);
    return copy;
  }

  #take(bytes: number): GPUBuffer {
    const index = this.#idle.findIndex((buffer) => buffer.size >= bytes);
    if (index >= 0) return this.#idle.splice(index, 1)[0]!;
    return this.#device.createBuffer({
      label: 'read-back',
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  dispose(): void {
    for (const buffer of this.#idle) buffer.destroy();
    this.#idle.length = 0;
  }
}
