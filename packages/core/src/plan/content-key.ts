import type { TensorRef } from '../onnx/model.ts';

/**
 * Short name of some contents, equal for equal contents: two rounds of FNV-1a with different offsets, 64 bits in all.
 * Names buffers of one model among each other; not meant against an adversary.
 */
export function contentKey(parts: readonly (string | Uint8Array)[]): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  const mix = (byte: number): void => {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x01000197);
  };
  for (const part of parts) {
    if (typeof part === 'string') for (let i = 0; i < part.length; i++) mix(part.charCodeAt(i));
    else for (const byte of part) mix(byte);
    mix(0x1ff);
  }
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0');
}

const identities = new WeakMap<TensorRef, string>();

/**
 * Name of a constant's contents: where they lie, or for those at hand what they are and whose. Equal contents under two
 * names are two: one of them may be updated.
 */
export function identityOf(ref: TensorRef): string {
  const known = identities.get(ref);
  if (known !== undefined) return known;
  const { data } = ref;
  const place =
    data.kind === 'range'
      ? `${data.source.name}@${data.offset}+${data.length}`
      : data.kind === 'inline'
        ? `${ref.name}=${contentKey([data.bytes])}`
        : data.kind === 'missing'
          ? `${data.location}@${data.offset}+${data.length}`
          : ref.name;
  const identity = `${ref.dtype}:${place}`;
  identities.set(ref, identity);
  return identity;
}
