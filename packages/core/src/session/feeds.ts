import { CalotypeError, DisposedError, ShapeError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { TensorType } from '../ops/op.ts';
import { equalShapes, formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Tensors by name, as `session.run` takes and gives them. */
export type Tensors = Record<string, Tensor>;

/**
 * Refuses a tensor that cannot be used on `engine`.
 *
 * @throws DisposedError, CalotypeError for a tensor of another engine
 */
export function checkUsable(name: string, tensor: Tensor, engine: Engine | undefined): void {
  if (!tensor.gpu && !tensor.cpu) throw new DisposedError(`The tensor given as '${name}'`);
  if (!tensor.gpu || !engine || tensor.gpu.engine === engine) return;
  throw new CalotypeError(
    `The tensor given as '${name}' lies on another engine's device. Create both sessions with the same engine, or ` +
      `pass its data in a tensor on the CPU.`,
  );
}

/**
 * Refuses a tensor that an output cannot be written to.
 *
 * @throws ShapeError
 */
export function checkTarget(name: string, target: Tensor, declared: TensorType, bytes: number): void {
  const { gpu, dtype, shape } = target;
  if (!gpu || dtype !== declared.dtype || !equalShapes(shape, declared.shape)) {
    throw new ShapeError(`output '${name}'`, {
      expected: `${declared.dtype}${formatShape(declared.shape)} on the GPU`,
      actual: `${dtype}${formatShape(shape)} on the ${target.location.toUpperCase()}`,
    });
  }
  checkSize(`output '${name}'`, gpu.buffer, bytes);
}

/** Refuses a buffer without room for the padding to 16 bytes. */
export function checkSize(where: string, buffer: GPUBuffer, bytes: number): void {
  if (buffer.size >= bytes) return;
  throw new ShapeError(where, {
    expected: `a buffer of at least ${bytes} bytes (its contents padded to 16)`,
    actual: `one of ${buffer.size}`,
  });
}
