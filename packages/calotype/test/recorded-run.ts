import { readSafetensors, type SafeTensor } from '@calotype/dev/safetensors';

/** The tensors recorded of one run. */
export async function recordedRun(folder: string, id: string): Promise<Map<string, SafeTensor>> {
  const response = await fetch(`/fixtures/${folder}/reference/${id}.safetensors`);
  return readSafetensors(new Uint8Array(await response.arrayBuffer()));
}

/** Elements of a recorded float32 tensor. */
export function floats(tensors: ReadonlyMap<string, SafeTensor>, name: string): Float32Array<ArrayBuffer> {
  return new Float32Array(tensors.get(name)!.data.slice().buffer);
}
