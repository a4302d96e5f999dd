import type { WeightUses } from '../graph/weight-uses.ts';
import { WeightUpdateError } from '../errors.ts';
import type { TensorRef } from '../onnx/model.ts';
import { contentKey, identityOf } from '../plan/content-key.ts';
import { loadPeakOf } from '../plan/footprint.ts';
import { residentBuffers } from '../plan/load-order.ts';
import { wholeOf } from '../plan/split-rows.ts';
import type { BufferId, Plan } from '../plan/plan.ts';
import type { Engine } from './engine.ts';
import { dependents, Load, type LoadOptions, type WeightChange } from './load.ts';
import { LowRankMerge, type LowRankUpdate } from './low-rank.ts';

/** Buffers that a program keeps until `release`. */
export interface HeldWeights {
  buffers: ReadonlyMap<BufferId, GPUBuffer>;
  release: () => void;
}

/** A weight with what is merged into it. */
export interface MergedUpdates {
  weight: WeightUses;
  updates: readonly LowRankUpdate[];
}

/**
 * What the load phases of a session's plans left on the GPU: packed weights and whatever else depends on weights only.
 * Plans for other shapes share it by content.
 *
 * Low-rank updates are merged into weights where these come from the file, before anything is made of them. A change of
 * the updates makes what depends on those weights stale; `refresh` makes it again in the same buffers, from the file, so
 * that without updates every bit is the file's again.
 */
export class ResidentWeights {
  readonly #engine: Engine;
  readonly #merge: LowRankMerge;
  readonly #resident = new Map<string, { buffer: GPUBuffer; holders: number }>();
  /** Plans whose weights are held, once for each hold. */
  readonly #plans = new Map<HeldWeights, Plan>();
  #merged: ReadonlyMap<TensorRef, MergedUpdates> = new Map();
  /** Contents that are not what they should be any more. */
  readonly #stale = new Set<string>();
  /** Loads run one after the other, so that two plans never compute the same contents twice. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#merge = new LowRankMerge(engine);
  }

  /** Bytes that lie on the GPU. */
  get bytes(): number {
    let bytes = 0;
    for (const { buffer } of this.#resident.values()) bytes += buffer.size;
    return bytes;
  }

  /** The most bytes that `hold` would add for this plan at once. */
  peakBytes(plan: Plan): number {
    const missing = [...wantedBy(plan)].filter(([, key]) => !this.#resident.has(key));
    return loadPeakOf(plan, new Set(missing.map(([id]) => id)));
  }

  /**
   * Makes the load-phase buffers that the plan's later phases read, and keeps them until `release`.
   *
   * @throws what reading and allocating throw; nothing new stays behind then
   */
  hold(plan: Plan, options: LoadOptions): Promise<HeldWeights> {
    return this.#inTurn(() => this.#hold(plan, options));
  }

  /**
   * Says what is merged into weights from now on. What is resident is made again by the next `refresh`.
   *
   * @param changed constants for which that differs from before
   */
  setMerged(merged: ReadonlyMap<TensorRef, MergedUpdates>, changed: ReadonlySet<TensorRef>): void {
    this.#merged = merged;
    this.markStale(changed);
  }

  /** Says that these constants are read anew by the next `refresh`. */
  markStale(refs: ReadonlySet<TensorRef>): void {
    for (const plan of new Set(this.#plans.values())) {
      const ids = dependents(plan, refs);
      for (const [id, key] of wantedBy(plan)) if (ids.has(id)) this.#stale.add(key);
    }
  }

  /**
   * Makes again what is stale.
   *
   * @throws what reading and allocating throw; what was not made again stays stale then
   */
  refresh(options: LoadOptions): Promise<void> {
    return this.#inTurn(async () => {
      for (const plan of new Set(this.#plans.values())) {
        if (this.#stale.size === 0) return;
        const stale = [...wantedBy(plan)].filter(([, key]) => this.#stale.has(key));
        if (stale.length === 0) continue;
        const targets = new Map(stale.map(([id, key]) => [id, this.#resident.get(key)!.buffer]));
        await new Load(this.#engine, plan, targets, this.#changeOf, options).run();
        for (const [, key] of stale) this.#stale.delete(key);
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  readonly #changeOf = (ref: TensorRef): WeightChange | undefined => {
    const merged = this.#merged.get(ref);
    const whole = wholeOf(ref);
    if (whole && this.#merged.has(whole)) {
      throw new WeightUpdateError([whole.name], 'no binding of this device holds it whole');
    }
    return merged && ((buffers, signal) => this.#merge.run(merged.weight, merged.updates, buffers, signal));
  };

  async #hold(plan: Plan, options: LoadOptions): Promise<HeldWeights> {
    const wanted = wantedBy(plan);
    const missing = new Map([...wanted].filter(([, key]) => !this.#resident.has(key)));
    if (missing.size > 0) {
      const targets = new Map([...missing.keys()].map((id) => [id, undefined]));
      const made = await new Load(this.#engine, plan, targets, this.#changeOf, options).run();
      for (const [id, key] of missing) {
        const buffer = made.get(id)!;
        // Two buffers of one plan may have the same contents.
        if (this.#resident.has(key)) this.#engine.buffers.destroy(buffer);
        else this.#resident.set(key, { buffer, holders: 0 });
      }
    }
    const keys = new Set(wanted.values());
    for (const key of keys) this.#resident.get(key)!.holders++;
    const held: HeldWeights = {
      buffers: new Map([...wanted].map(([id, key]) => [id, this.#resident.get(key)!.buffer])),
      release: () => {
        if (this.#plans.delete(held)) for (const key of keys) this.#letGo(key);
      },
    };
    this.#plans.set(held, plan);
    return held;
  }

  #letGo(key: string): void {
    const entry = this.#resident.get(key);
    if (!entry || --entry.holders > 0) return;
    this.#resident.delete(key);
    this.#stale.delete(key);
    this.#engine.buffers.destroy(entry.buffer);
  }

  /** Frees everything, whoever holds it. */
  dispose(): void {
    for (const { buffer } of this.#resident.values()) this.#engine.buffers.destroy(buffer);
    this.#resident.clear();
    this.#merge.dispose();
  }
}

/** Load-phase buffers that later phases read, with the names of their contents. */
function wantedBy(plan: Plan): Map<BufferId, string> {
  return new Map([...residentBuffers(plan)].map((id) => [id, keyOf(plan, id)]));
}

function keyOf(plan: Plan, id: BufferId): string {
  const { content, label } = plan.buffers[id]!;
  switch (content.kind) {
    case 'weight':
      return `weight:${identityOf(content.ref)}`;
    case 'constant':
      return `constant:${contentKey([content.data])}:${content.data.byteLength}`;
    case 'computed':
      return `computed:${content.key ?? label}`;
    default:
      throw new Error(`Internal error: '${label}' belongs to no load phase`);
  }
}
