import { OptionError } from '../errors.ts';
import { uploadTensor } from '../stages/memory.ts';
import type { Making } from './embeddings.ts';
import type { EncodeContext } from './family.ts';

/** Adds position ids, as inputs with or without `count` rows: as the graph declares them. */
export function addPositions(
  { engine, denoiser }: EncodeContext,
  ids: Readonly<Record<string, readonly (readonly number[])[]>>,
  count: number,
  to: { rows: Making; shared: Making },
): void {
  for (const [name, positions] of Object.entries(ids)) {
    const input = denoiser.inputs.find((candidate) => candidate.name === name);
    if (!input) continue;
    const shape = [positions.length, positions[0]!.length];
    const values = positions.flat();
    if (input.shape?.length === 3) {
      const repeated = Float32Array.from(
        { length: count * values.length },
        (_, i) => values[i % values.length]!,
      );
      to.rows.add(name, uploadTensor(engine, [count, ...shape], repeated, name));
    } else {
      to.shared.add(name, uploadTensor(engine, shape, Float32Array.from(values), name));
    }
  }
}

/** Rows and columns of tokens that latents of this shape make. */
export function tokenGrid(shape: readonly number[], patch: number): [rows: number, columns: number] {
  const [height, width] = [shape[2]!, shape[3]!];
  if (height % patch !== 0 || width % patch !== 0) {
    throw new OptionError('width', `latents of ${height} × ${width} do not divide into patches of ${patch}.`);
  }
  return [height / patch, width / patch];
}
