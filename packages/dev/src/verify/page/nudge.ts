import { readModel, urlStore } from '@calotype/core';
import { fetchFixture, fixtureUrl } from './reference.ts';

/** Shorter contents could be found where they are not. */
const LEAST_BYTES = 16;

/**
 * A model in one file with every float32 constant in it, but for single numbers, moved by at most `reach` units in its
 * last place (each 6e-8 to 1.2e-7 of its size), up or down.
 */
export async function nudged(path: string, seed: number, reach: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await fetchFixture(path);
  const { graph } = await readModel(urlStore(fixtureUrl('')), path);
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let state = seed;
  for (const { dtype, data } of graph.initializers.values()) {
    if (dtype !== 'float32') continue;
    const place =
      data.kind === 'range' ? data : data.kind === 'inline' ? placeOf(data.bytes, bytes) : undefined;
    if (!place) continue;
    const end = place.offset + place.length;
    for (let at = place.offset; at < end; at += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const bits = file.getUint32(at, true);
      // Zero has no size to move it by.
      if (bits << 1 !== 0) file.setUint32(at, bits + Math.round((state / 2 ** 31 - 1) * reach), true);
    }
  }
  return bytes;
}

function placeOf(part: Uint8Array, bytes: Uint8Array): { offset: number; length: number } | undefined {
  if (part.byteLength < LEAST_BYTES) return undefined;
  for (let at = bytes.indexOf(part[0]!); at >= 0; at = bytes.indexOf(part[0]!, at + 1)) {
    if (part.every((byte, i) => bytes[at + i] === byte)) return { offset: at, length: part.byteLength };
  }
  return undefined;
}
