import { readTensor, writeModel, type Model } from '@calotype/core/tools';

/** A model's file and what it refers to. */
export interface WholeModel {
  bytes: Uint8Array<ArrayBuffer>;
  externalData: { path: string; data: Uint8Array<ArrayBuffer> }[];
}

/** Writes a model with all its constants. */
export async function wholeModel(model: Model): Promise<WholeModel> {
  const { bytes, external } = writeModel(model);
  const files = [...external].map(async ([path, ref]) => ({ path, data: await readTensor(ref) }));
  return { bytes, externalData: await Promise.all(files) };
}
