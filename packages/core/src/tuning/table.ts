import type { AttentionChoice } from '../kernels/attention/choose.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import type { Capabilities } from '../plan/capabilities.ts';
import { attentionKey, gemmKey } from './problems.ts';

/** Raised whenever kernels change so that old measurements say nothing any more. */
const KERNELS = 4;

const CACHE = 'calotype-tuning';

/** What was measured of one kind of problem on this device. */
export interface TuningEntry {
  /** The fastest way; the rules' own where nothing was faster. */
  choice: GemmChoice | AttentionChoice;
  /** Milliseconds of it, and of what the rules chose. */
  milliseconds: number;
  ruleMilliseconds: number;
}

/**
 * Measured choices of kernels for one device, by problem (`problems.ts`). The browser keeps it for the page's origin, in
 * its Cache Storage: the next engine on such a device begins with it.
 */
export class TuningTable implements KernelTuning {
  readonly #entries = new Map<string, TuningEntry>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): TuningEntry | undefined {
    return this.#entries.get(key);
  }

  set(key: string, entry: TuningEntry): void {
    this.#entries.set(key, entry);
  }

  gemm(problem: Parameters<typeof gemmKey>[0], rule: GemmChoice): GemmChoice {
    const choice = this.#entries.get(gemmKey(problem))?.choice;
    return choice && isGemm(choice) ? choice : rule;
  }

  attention(problem: Parameters<typeof attentionKey>[0], rule: AttentionChoice): AttentionChoice {
    const choice = this.#entries.get(attentionKey(problem))?.choice;
    return choice && !isGemm(choice) ? choice : rule;
  }

  /** Adds what the browser keeps for such a device. Without Cache Storage (an insecure page) there is nothing. */
  async load(capabilities: Capabilities): Promise<void> {
    if (!('caches' in globalThis)) return;
    const response = await caches.match(addressOf(capabilities), { cacheName: CACHE });
    if (!response) return;
    const entries = (await response.json()) as [string, TuningEntry][];
    for (const [key, entry] of entries) this.#entries.set(key, entry);
  }

  /** Gives the table to the browser to keep. False where it keeps none. */
  async save(capabilities: Capabilities): Promise<boolean> {
    if (!('caches' in globalThis)) return false;
    const cache = await caches.open(CACHE);
    await cache.put(addressOf(capabilities), Response.json([...this.#entries]));
    return true;
  }
}

/** Deletes the tables of all devices that the browser keeps for this origin. */
export async function forgetTuning(): Promise<void> {
  if ('caches' in globalThis) await caches.delete(CACHE);
}

function isGemm(choice: GemmChoice | AttentionChoice): choice is GemmChoice {
  return ['gemv', 'direct', 'fma', 'winograd'].includes(choice.kind) || 'tile' in choice;
}

/** Everything of a device that variants depend on is in the name: a driver that offers more is another device. */
function addressOf({ adapter, features, subgroupMinSize, subgroupMaxSize, limits }: Capabilities): string {
  const parts = [
    KERNELS,
    adapter,
    features.shaderF16 ? 'f16' : 'f32',
    features.subgroups ? `${subgroupMinSize}-${subgroupMaxSize}` : 'none',
    features.subgroupMatrix.length,
    limits.maxComputeWorkgroupStorageSize,
    limits.maxComputeInvocationsPerWorkgroup,
  ];
  return `/calotype-tuning/${encodeURIComponent(parts.join(' '))}`;
}
