/**
 * Writes bytes of any length to a buffer that is padded to whole words. `offset` is a multiple of four; what follows
 * in the last word becomes zero.
 */
export function writePadded(
  queue: GPUQueue,
  buffer: GPUBuffer,
  offset: number,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  const whole = bytes.byteLength & ~3;
  if (whole > 0) queue.writeBuffer(buffer, offset, bytes, 0, whole);
  if (whole === bytes.byteLength) return;
  const rest = new Uint8Array(4);
  rest.set(bytes.subarray(whole));
  queue.writeBuffer(buffer, offset + whole, rest);
}
