import type { LowRankUpdate, PrepareOptions, Session, WeightInfo } from '@calotype/core';
import { LoraError } from '../errors.ts';
import type { LoraFile, LoraLayer, LoraSource } from './file.ts';
import type { LoraComponent } from './keys.ts';
import type { weightsByModule } from './modules.ts';
import { checkScale } from './scale.ts';

export interface LoraOptions extends PrepareOptions {
  /** How strongly it acts; 1 by default, 0 not at all, negative against it. */
  scale?: number;
  /** What errors and `loras` call it. The file's name by default. */
  name?: string;
  /** Takes what fits and lists the rest in `skipped`, in place of refusing a file that fits only in part. */
  allowUnmatched?: boolean;
}

/** A LoRA that is loaded. */
export interface Lora {
  readonly name: string;
  readonly scale: number;
  /** Modules that it changes, by component. */
  readonly layers: Readonly<Partial<Record<LoraComponent, number>>>;
  /** Modules of the file that this model does not have. Only with `allowUnmatched`. */
  readonly skipped: readonly string[];
}

/** A layer with the weight it goes to. */
interface Placed {
  weight: string;
  layer: LoraLayer;
}

class LoadedLora implements Lora {
  readonly name: string;
  scale: number;
  readonly skipped: readonly string[];
  readonly placed: ReadonlyMap<LoraComponent, readonly Placed[]>;

  constructor(
    name: string,
    scale: number,
    placed: ReadonlyMap<LoraComponent, readonly Placed[]>,
    skipped: readonly string[],
  ) {
    this.name = name;
    this.scale = scale;
    this.placed = placed;
    this.skipped = skipped;
  }

  get layers(): Partial<Record<LoraComponent, number>> {
    return Object.fromEntries([...this.placed].map(([component, placed]) => [component, placed.length]));
  }
}

/** The LoRAs of a pipeline (Hu et al. 2021, arXiv:2106.09685). Any number act at once: their changes add up. */
export class LoraSet {
  readonly #sessions: ReadonlyMap<LoraComponent, Session>;
  #loras: readonly LoadedLora[] = [];
  /** Changes follow one another. */
  #queue: Promise<unknown> = Promise.resolve();

  /** @param sessions what LoRAs may change */
  constructor(sessions: ReadonlyMap<LoraComponent, Session>) {
    this.#sessions = sessions;
  }

  /** What is loaded, in the order of loading. */
  get loras(): readonly Lora[] {
    return this.#loras;
  }

  /**
   * Loads a LoRA; see `LoraOptions`.
   *
   * @throws LoraError for a file that is none, or made for another model; `unmatched` names what this one does not have
   * @throws what `session.updateWeights` throws; the LoRA is not loaded then
   */
  async load(source: LoraSource, options: LoraOptions = {}): Promise<Lora> {
    checkScale(options.scale ?? 1);
    // Most pages load none: what reads them is fetched when it is wanted.
    const [{ readLora }, { weightsByModule }] = await Promise.all([
      import('./file.ts'),
      import('./modules.ts'),
    ]);
    const file = await readLora(source, options.signal);
    return this.#inTurn(async () => {
      const { placed, skipped } = this.#place(file, options.allowUnmatched ?? false, weightsByModule);
      const lora = new LoadedLora(options.name ?? shortName(file.name), options.scale ?? 1, placed, skipped);
      // One that does not act changes no weight.
      if (lora.scale === 0) this.#loras = [...this.#loras, lora];
      else await this.#exchange([...this.#loras, lora], placed.keys(), options);
      return lora;
    });
  }

  /**
   * Changes how strongly a LoRA acts, from the next run on.
   *
   * @throws LoraError for one that is not loaded
   */
  setScale(lora: Lora, scale: number, options: PrepareOptions = {}): Promise<void> {
    return this.setScales(new Map([[lora, scale]]), options);
  }

  /**
   * Changes how strongly several act, in one go.
   *
   * @throws LoraError for one that is not loaded; no scale is changed then
   */
  setScales(scales: ReadonlyMap<Lora, number>, options: PrepareOptions = {}): Promise<void> {
    for (const scale of scales.values()) checkScale(scale);
    return this.#inTurn(async () => {
      const changes = [...scales].map(([lora, scale]) => ({ loaded: this.#find(lora), scale }));
      const changed = changes.filter(({ loaded, scale }) => loaded.scale !== scale);
      const before = changed.map(({ loaded }) => loaded.scale);
      const components = new Set(changed.flatMap(({ loaded }) => [...loaded.placed.keys()]));
      for (const { loaded, scale } of changed) loaded.scale = scale;
      try {
        await this.#exchange(this.#loras, components, options);
      } catch (error) {
        changed.forEach(({ loaded }, i) => (loaded.scale = before[i]!));
        await this.#exchange(this.#loras, components, {}).catch(() => {});
        throw error;
      }
    });
  }

  /**
   * Takes a LoRA away. Weights that no other LoRA changes are the file's again, bit by bit.
   *
   * @throws LoraError for one that is not loaded
   */
  unload(lora: Lora, options: PrepareOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      const loaded = this.#find(lora);
      const rest = this.#loras.filter((other) => other !== loaded);
      if (loaded.scale === 0) this.#loras = rest;
      else await this.#exchange(rest, loaded.placed.keys(), options);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  #find(lora: Lora): LoadedLora {
    const found = this.#loras.find((loaded) => loaded === lora);
    if (!found) throw new LoraError(lora.name, 'is not loaded here.');
    return found;
  }

  /** Makes `loras` the ones that act; those before act again if that fails. */
  async #exchange(
    loras: readonly LoadedLora[],
    components: Iterable<LoraComponent>,
    options: PrepareOptions,
  ): Promise<void> {
    const before = this.#loras;
    const concerned = [...components];
    const update = async (wanted: readonly LoadedLora[], rest: PrepareOptions): Promise<void> => {
      for (const component of concerned) {
        await this.#sessions.get(component)!.updateWeights(updatesOf(wanted, component), rest);
      }
    };
    const { signal, onProgress } = options;
    try {
      await update(loras, { ...(signal && { signal }), ...(onProgress && { onProgress }) });
      this.#loras = loras;
    } catch (error) {
      await update(before, {}).catch(() => {});
      throw error;
    }
  }

  /** Finds the weight for every layer of a file. */
  #place(
    { name, layers }: LoraFile,
    allowUnmatched: boolean,
    find: typeof weightsByModule,
  ): { placed: Map<LoraComponent, Placed[]>; skipped: string[] } {
    const placed = new Map<LoraComponent, Placed[]>();
    const skipped: string[] = [];
    for (const component of new Set(layers.map((layer) => layer.component))) {
      const own = layers.filter((layer) => layer.component === component);
      const names = find(
        this.#sessions.get(component)?.weights ?? [],
        own.map(({ module }) => module),
      );
      for (const layer of own) {
        const weight = names.get(layer.module);
        const mismatch = weight ? misfit(layer, weight) : 'no such module';
        if (mismatch === undefined) {
          placed.set(component, [...(placed.get(component) ?? []), { weight: weight!.name, layer }]);
        } else skipped.push(`${component}: ${layer.module} (${mismatch})`);
      }
    }
    if (placed.size > 0 && (skipped.length === 0 || allowUnmatched)) return { placed, skipped };
    const shown = skipped.slice(0, 3).join('; ');
    const remedy =
      placed.size === 0
        ? 'It was made for another kind of model.'
        : 'It was made for another model; allowUnmatched: true takes what fits.';
    throw new LoraError(
      name,
      `does not fit this model in ${skipped.length} of ${layers.length} modules: ${shown}${skipped.length > 3 ? '; …' : ''}. ${remedy}`,
      { unmatched: skipped },
    );
  }
}

/** In what a layer differs from the weight that has its name. */
function misfit({ rows, columns, kernel }: LoraLayer, weight: WeightInfo): string | undefined {
  const taps = weight.kernel.reduce((product, size) => product * size, 1);
  const own = kernel.reduce((product, size) => product * size, 1);
  if (own === taps && rows === weight.outFeatures && columns === weight.inFeatures * taps) return undefined;
  const size = (ins: number, outs: number, window: readonly number[]): string =>
    [`${ins} → ${outs}`, ...(window.length > 0 ? [`${window.join('×')} window`] : [])].join(', ');
  return `${size(columns / own, rows, kernel)} in the file, ${size(weight.inFeatures, weight.outFeatures, weight.kernel)} in the model`;
}

function updatesOf(loras: readonly LoadedLora[], component: LoraComponent): Map<string, LowRankUpdate[]> {
  const updates = new Map<string, LowRankUpdate[]>();
  for (const lora of loras) {
    if (lora.scale === 0) continue;
    for (const { weight, layer } of lora.placed.get(component) ?? []) {
      const { rank, scaling, factors } = layer;
      const update = { rank, scale: lora.scale * scaling, factors };
      updates.set(weight, [...(updates.get(weight) ?? []), update]);
    }
  }
  return updates;
}

function shortName(name: string): string {
  return name
    .replace(/[?#].*$/, '')
    .split('/')
    .at(-1)!
    .replace(/\.safetensors$/, '');
}
