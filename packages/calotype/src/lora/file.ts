import { blobSource, bytesSource, type ByteSource, type LowRankFactors } from '@calotype/core';
import { LoraError } from '../errors.ts';
import { otherMethod, parseKey, type LoraComponent, type LoraPart } from './keys.ts';
import { readFloats, readSafetensors, type SafetensorsEntry, type SafetensorsHeader } from './safetensors.ts';

/** Where a LoRA comes from: a safetensors file by its address, as a file, or in memory. */
export type LoraSource = string | URL | Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | ByteSource;

/** What a file has for one module. */
export interface LoraLayer {
  component: LoraComponent;
  /** See `LoraKey`. */
  module: string;
  rank: number;
  /** What `up · down` is multiplied by before the user's scale: alpha / rank, or alpha / √rank. */
  scaling: number;
  /** Numbers in a row of `down` and rows of `up`, for the check against the weight. */
  columns: number;
  rows: number;
  /** Sizes of the window that `down` has once `mid` is in it; empty for a product. */
  kernel: readonly number[];
  /** Reads the factors: `down` [rank, columns], `up` [rows, rank]. */
  factors: (signal?: AbortSignal) => Promise<LowRankFactors>;
}

/** A LoRA file's name and layers. Its tensors are read when they are wanted. */
export interface LoraFile {
  name: string;
  layers: readonly LoraLayer[];
}

/**
 * Reads what a LoRA file holds, in the key styles of kohya's trainer, diffusers and PEFT.
 *
 * @throws LoraError for what is no LoRA: other methods by their names, tensors without partner, unknown tensors
 * @throws SourceError, the signal's reason
 */
export async function readLora(source: LoraSource, signal?: AbortSignal): Promise<LoraFile> {
  const bytes = await byteSourceOf(source, signal);
  const header = await readSafetensors(bytes, signal);
  const modules = new Map<string, { component: LoraComponent; module: string; parts: Parts }>();
  for (const [key, entry] of header.tensors) {
    const method = otherMethod(key);
    if (method !== undefined) {
      throw new LoraError(
        bytes.name,
        `holds ${method} ('${key}'), which is not supported. Merge it into the model, or use a plain LoRA.`,
      );
    }
    const parsed = parseKey(key);
    if (!parsed) {
      throw new LoraError(bytes.name, `holds '${key}', which is no tensor of a LoRA in a known key style.`);
    }
    const { component, module, part } = parsed;
    const id = `${component} ${module}`;
    const known = modules.get(id) ?? { component, module, parts: {} };
    known.parts[part] = entry;
    modules.set(id, known);
  }
  if (modules.size === 0) throw new LoraError(bytes.name, 'holds no tensors.');
  const layers = [...modules.values()].map(async ({ component, module, parts }) =>
    layerOf(bytes, header, { component, module, parts }, signal),
  );
  return { name: bytes.name, layers: await Promise.all(layers) };
}

type Parts = { [P in LoraPart]?: SafetensorsEntry };

async function layerOf(
  source: ByteSource,
  header: SafetensorsHeader,
  { component, module, parts }: { component: LoraComponent; module: string; parts: Parts },
  signal: AbortSignal | undefined,
): Promise<LoraLayer> {
  const { down, up, mid, alpha } = parts;
  if (!down || !up) {
    throw new LoraError(
      source.name,
      `has only one of the two factors of '${module}'. The file is incomplete.`,
    );
  }
  const rank = down.shape[0] ?? 0;
  const [rows = 0, upRank, ...upKernel] = up.shape;
  const fits =
    rank > 0 &&
    upRank === rank &&
    sizeOf(upKernel) === 1 &&
    (!mid || mid.shape.slice(0, 2).join() === `${rank},${rank}`);
  if (!fits) {
    throw new LoraError(
      source.name,
      `has factors of '${module}' that do not fit: down [${down.shape.join(', ')}], up [${up.shape.join(', ')}]${mid ? `, mid [${mid.shape.join(', ')}]` : ''}.`,
    );
  }
  const kernel = (mid ?? down).shape.slice(2);
  const config = new AdapterConfig(header.metadata, component);
  const given = alpha && (await readFloats(source, alpha, signal))[0];
  return {
    component,
    module,
    rank,
    scaling: (given ?? config.alphaOf(module) ?? rank) / (config.rankStabilized ? Math.sqrt(rank) : rank),
    rows,
    columns: (down.shape[1] ?? 0) * sizeOf(kernel),
    kernel,
    factors: async (abort) => {
      const [first, second, middle] = await Promise.all([
        readFloats(source, down, abort),
        readFloats(source, up, abort),
        mid ? readFloats(source, mid, abort) : undefined,
      ]);
      return { up: second, down: middle ? throughMiddle(middle, first, rank, sizeOf(kernel)) : first };
    },
  };
}

/**
 * LoCon's Tucker form (arXiv:2309.14859): `mid` [rank, rank, …kernel] between `down` [rank, inputs] and `up`. Returns
 * what `down` would be without it, [rank, inputs, …kernel].
 */
function throughMiddle(mid: Float32Array, down: Float32Array, rank: number, taps: number): Float32Array {
  const inputs = down.length / rank;
  const result = new Float32Array(rank * inputs * taps);
  for (let p = 0; p < rank; p++) {
    for (let i = 0; i < inputs; i++) {
      for (let tap = 0; tap < taps; tap++) {
        let sum = 0;
        for (let q = 0; q < rank; q++) sum += mid[(p * rank + q) * taps + tap]! * down[q * inputs + i]!;
        result[(p * inputs + i) * taps + tap] = sum;
      }
    }
  }
  return result;
}

/** PEFT's configuration as diffusers writes it into the file's metadata. */
class AdapterConfig {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(metadata: Readonly<Record<string, string>>, component: LoraComponent) {
    const prefixes = component === 'denoiser' ? ['unet.', 'transformer.'] : [`${component}.`];
    let all: unknown;
    try {
      all = JSON.parse(metadata['lora_adapter_metadata'] ?? '{}');
    } catch {
      all = {};
    }
    const entries = typeof all === 'object' && all !== null ? Object.entries(all) : [];
    this.#values = Object.fromEntries(
      entries.flatMap(([key, value]) =>
        prefixes.flatMap((prefix) => (key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [])),
      ),
    );
  }

  get rankStabilized(): boolean {
    return this.#values['use_rslora'] === true;
  }

  alphaOf(module: string): number | undefined {
    const patterns = this.#values['alpha_pattern'];
    if (typeof patterns === 'object' && patterns !== null) {
      for (const [pattern, value] of Object.entries(patterns)) {
        const flat = pattern.replaceAll('.', '_');
        if ((module === flat || module.endsWith(`_${flat}`)) && typeof value === 'number') return value;
      }
    }
    const alpha = this.#values['lora_alpha'];
    return typeof alpha === 'number' ? alpha : undefined;
  }
}

async function byteSourceOf(source: LoraSource, signal: AbortSignal | undefined): Promise<ByteSource> {
  if (source instanceof Blob) return blobSource(source instanceof File ? source.name : 'LoRA', source);
  if (source instanceof ArrayBuffer) return bytesSource('LoRA', new Uint8Array(source));
  if (source instanceof Uint8Array) return bytesSource('LoRA', source);
  if (typeof source !== 'string' && !(source instanceof URL)) return source;
  // Factors are read again whenever a scale changes: the browser keeps the file, on disk if it is large.
  const url = String(source);
  let response: Response;
  try {
    response = await fetch(source, signal ? { signal } : {});
  } catch (cause) {
    signal?.throwIfAborted();
    throw new LoraError(url, 'could not be fetched.', { cause });
  }
  if (!response.ok) throw new LoraError(url, `could not be fetched: HTTP ${response.status}.`);
  return blobSource(url, await response.blob());
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}
