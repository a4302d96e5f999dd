import type { BufferId, PlanBuffer, QuantizedWeight, TensorView } from './plan.ts';
import { describeQuantized, type Quantized } from './quantized.ts';

/** Remembers, while a plan is made, where weights of few bits lie and what was made of them. */
export class LowBitWeights {
  /** Buffers of dequantized weights, with what they are made from. */
  readonly #integers = new Map<BufferId, Quantized>();
  readonly #kept: { weight: BufferId; format: string; buffers: BufferId[] }[] = [];
  readonly #inflated = new Map<BufferId, string>();

  dequantized(buffer: BufferId, from: Quantized): void {
    this.#integers.set(buffer, from);
  }

  get(buffer: BufferId): Quantized | undefined {
    return this.#integers.get(buffer);
  }

  kept(weight: BufferId, format: string, buffers: readonly TensorView[]): void {
    this.#kept.push({ weight, format, buffers: buffers.map(({ buffer }) => buffer) });
  }

  inflated(buffer: BufferId, reason: string): void {
    this.#inflated.set(buffer, reason);
  }

  /** Those among the buffers that the plan needs. */
  list(buffers: readonly PlanBuffer[], isNeeded: (id: BufferId) => boolean): QuantizedWeight[] {
    const kept = this.#kept.filter((weight) => weight.buffers.every(isNeeded));
    const inflated = [...this.#integers].filter(([id]) => isNeeded(id));
    const bytesOf = (ids: Iterable<BufferId>): number =>
      [...new Set(ids)].reduce((sum, id) => sum + buffers[id]!.bytes, 0);
    return [
      ...kept.map(({ weight, format, buffers: own }) => ({
        name: buffers[weight]!.label,
        format,
        bytes: bytesOf(own),
      })),
      ...inflated.map(([id, from]) => ({
        name: buffers[from.x.buffer]!.label,
        format: describeQuantized(from),
        bytes: buffers[id]!.bytes,
        inflated: this.#inflated.get(id) ?? 'what reads it takes floats',
      })),
    ];
  }
}
