import { readFileSync } from 'node:fs';

/** Reads the float32 tensors of a safetensors file beside the tests. */
export function readSafetensors(name: string): Map<string, { shape: number[]; data: Float32Array }> {
  const bytes = new Uint8Array(readFileSync(new URL(`./fixtures/${name}`, import.meta.url)));
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes))) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header).map(
      ([
        key,
        {
          shape,
          data_offsets: [start, end],
        },
      ]) => [
        key,
        { shape, data: new Float32Array(bytes.slice(8 + headerBytes + start, 8 + headerBytes + end).buffer) },
      ],
    ),
  );
}
