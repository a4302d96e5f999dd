import { OptionError } from '../errors.ts';
import type { Tensor } from '@calotype/core';
import { uploadTensor } from '../stages/memory.ts';
import type { EncodeContext } from './family.ts';

/** Position ids of the text and of the image's tokens, as inputs with or without rows: as the graph declares them. */
export function positionIds(
  { engine, denoiser }: EncodeContext,
  rows: number,
  ids: Readonly<Record<string, readonly (readonly number[])[]>>,
): { rows: Record<string, Tensor>; shared: Record<string, Tensor> } {
  const result = { rows: {} as Record<string, Tensor>, shared: {} as Record<string, Tensor> };
  for (const [name, positions] of Object.entries(ids)) {
    const input = denoiser.inputs.find((candidate) => candidate.name === name);
    if (!input) continue;
    const { length } = positions[0]!;
    const values = positions.flat();
    if (input.shape?.length === 3) {
      const repeated = Array.from({ length: rows }, () => values).flat();
      const shape = [rows, positions.length, length];
      result.rows[name] = uploadTensor(engine, shape, Float32Array.from(repeated), name);
    } else {
      const shape = [positions.length, length];
      result.shared[name] = uploadTensor(engine, shape, Float32Array.from(values), name);
    }
  }
  return result;
}

/** Rows and columns of tokens that latents of this shape make. */
export function tokenGrid(shape: readonly number[], patch: number): [rows: number, columns: number] {
  const [height, width] = [shape[2]!, shape[3]!];
  if (height % patch !== 0 || width % patch !== 0) {
    throw new OptionError('width', `latents of ${height} × ${width} do not divide into patches of ${patch}.`);
  }
  return [height / patch, width / patch];
}
