import { WeightUpdateError } from '../errors.ts';
import { joinFactors, type LowRankUpdate } from '../gpu/low-rank.ts';
import type { MergedUpdates } from '../gpu/resident-weights.ts';
import { type Branch, withBranches } from '../graph/low-rank-branches.ts';
import type { GraphTemplate } from '../graph/template.ts';
import { type WeightInfo, type WeightUses, weightUses } from '../graph/weight-uses.ts';
import type { TensorRef } from '../onnx/model.ts';

/** Updates by the name of the weight. */
export type UpdatesByWeight = ReadonlyMap<string, readonly LowRankUpdate[]>;

/** What a change of updates means for programs and weights. */
export interface UpdateEffect {
  /** What is merged into weights of floats. */
  merged: ReadonlyMap<TensorRef, MergedUpdates>;
  /** Constants whose contents are others than before. */
  changed: ReadonlySet<TensorRef>;
  /** The model with branches beside quantized weights, where those are not the same as before. */
  template: GraphTemplate | undefined;
}

let branchesMade = 0;

/** Keeps which low-rank updates a session's weights have. */
export class WeightUpdates {
  readonly #template: GraphTemplate;
  #uses: ReadonlyMap<string, WeightUses> | undefined;
  #current: UpdatesByWeight = new Map();
  #beside: ReadonlyMap<string, Beside> = new Map();

  /** @param template the model as the file has it */
  constructor(template: GraphTemplate) {
    this.#template = template;
  }

  get weights(): readonly WeightInfo[] {
    return [...this.#weightUses.values()];
  }

  /** Names of the weights that have updates. */
  get updated(): readonly string[] {
    return [...this.#current.keys()];
  }

  get #weightUses(): ReadonlyMap<string, WeightUses> {
    return (this.#uses ??= weightUses(this.#template));
  }

  /**
   * Makes `updates` the ones that hold, all others gone.
   *
   * @throws WeightUpdateError, and nothing is changed
   */
  set(updates: UpdatesByWeight): UpdateEffect {
    const wanted = new Map([...updates].filter(([, list]) => list.length > 0));
    const unknown = [...wanted.keys()].filter((name) => !this.#weightUses.has(name));
    if (unknown.length > 0) throw new WeightUpdateError(unknown, 'no product or convolution has it');
    const uses = (name: string): WeightUses => this.#weightUses.get(name)!;

    const beside = new Map<string, Beside>();
    const changed = new Set<TensorRef>();
    let rebuilt = false;
    for (const [name, list] of wanted) {
      if (!uses(name).quantized) continue;
      const before = this.#beside.get(name);
      const isKept = before && isEqual(before.updates, list, (a, b) => a.factors === b.factors);
      const state = isKept ? before : new Beside(uses(name), list);
      if (isKept && !isEqual(before.updates, list, (a, b) => a.scale === b.scale)) {
        changed.add(state.branch.scales);
      }
      rebuilt ||= !isKept;
      beside.set(name, state);
    }
    rebuilt ||= [...this.#beside.keys()].some((name) => !beside.has(name));
    const branches = [...beside.values()].map(({ branch }) => branch);
    const template = rebuilt ? withBranches(this.#template, branches) : undefined;

    // Nothing throws from here on.
    for (const [name, state] of beside) state.updates = wanted.get(name)!;
    const merged = new Map<TensorRef, MergedUpdates>();
    for (const [name, list] of wanted) {
      const weight = uses(name);
      if (!weight.quantized) merged.set(weight.ref, { weight, updates: list });
    }
    for (const name of new Set([...wanted.keys(), ...this.#current.keys()])) {
      const isSame = isEqual(
        this.#current.get(name) ?? [],
        wanted.get(name) ?? [],
        (a, b) => a.factors === b.factors && a.scale === b.scale,
      );
      if (!isSame && !uses(name).quantized) changed.add(uses(name).ref);
    }
    this.#current = wanted;
    this.#beside = beside;
    return { merged, changed, template };
  }
}

function isEqual(
  a: readonly LowRankUpdate[],
  b: readonly LowRankUpdate[],
  same: (x: LowRankUpdate, y: LowRankUpdate) => boolean,
): boolean {
  return a.length === b.length && a.every((update, i) => same(update, b[i]!));
}

/** Updates that are computed beside a quantized weight. */
class Beside {
  updates: readonly LowRankUpdate[];
  readonly branch: Branch;

  constructor(weight: WeightUses, updates: readonly LowRankUpdate[]) {
    this.updates = updates;
    const name = `${weight.name}/updates-${branchesMade++}`;
    const rank = updates.reduce((sum, update) => sum + update.rank, 0);
    const { kernel } = weight;
    const factor = (which: 'down' | 'up', dims: number[]): TensorRef =>
      generated(`${name}/${which}`, dims, async (signal) => {
        const joined = await joinFactors(weight, updates, { scaled: false, signal });
        return joined[which];
      });
    this.branch = {
      weight,
      down: factor('down', [rank, weight.inFeatures, ...kernel]),
      // The only one whose contents change while the branch stays.
      scales: generated(`${name}/scales`, [rank, ...kernel.map(() => 1)], async () =>
        Float32Array.from(
          this.updates.flatMap((update) => new Array<number>(update.rank).fill(update.scale)),
        ),
      ),
      up: factor('up', [weight.outFeatures, rank, ...kernel.map(() => 1)]),
    };
  }
}

/** A constant of floats whose bytes are made when they are wanted. */
function generated(
  name: string,
  dims: number[],
  make: (signal: AbortSignal | undefined) => Promise<Float32Array<ArrayBuffer>>,
): TensorRef {
  const bytes = dims.reduce((size, dim) => size * dim, 4);
  return {
    name,
    dtype: 'float32',
    dims,
    data: {
      kind: 'range',
      offset: 0,
      length: bytes,
      source: {
        name,
        size: async () => bytes,
        read: async (offset, length, signal) => {
          const values = await make(signal);
          return new Uint8Array(values.buffer, values.byteOffset + offset, length);
        },
      },
    },
  };
}
