import { describe, test } from 'vitest';
import { ShaderError } from '../src/errors.ts';
import { PipelineCache } from '../src/gpu/pipeline-cache.ts';
import type { Capabilities } from '../src/plan/capabilities.ts';
import type { Kernel, Plan } from '../src/plan/plan.ts';
import { browsers, type Browser, type BrowserName } from './browsers.ts';

// Dawn, which is Chromium's WebGPU, compiles WGSL without a GPU: its null backend has nearly every feature and computes
// nothing.

/** Dawn ends, with all its devices, when this is collected. */
let gpu: GPU | undefined;

/** @throws where the package has no binary for this platform */
async function nullAdapter(): Promise<GPUAdapter> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  gpu ??= create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('Dawn has no null backend');
  return adapter;
}

/** What the kernels for such a device may use. */
function featuresOf({ features }: Capabilities): GPUFeatureName[] {
  const names = [
    ...(features.shaderF16 ? ['shader-f16'] : []),
    ...(features.subgroups ? ['subgroups'] : []),
    ...(features.subgroupMatrix.length > 0 ? ['chromium-experimental-subgroup-matrix'] : []),
  ];
  return names as GPUFeatureName[];
}

/** Why kernels for such a device cannot be compiled here, to be told with the tests that are skipped. */
export async function whyNotHere(capabilities: Capabilities): Promise<string | undefined> {
  try {
    const { features } = await nullAdapter();
    const missing = featuresOf(capabilities).filter((feature) => !features.has(feature));
    return missing.length > 0 ? `Dawn's null backend has no ${missing.join(', ')}` : undefined;
  } catch (error) {
    return `no Dawn for ${process.platform}-${process.arch}: ${String(error).split('\n')[0]}`;
  }
}

/** Defines tests for each of the browsers; where they cannot run, one that is skipped tells why. */
export async function describeBrowsers(define: (browser: Browser, name: BrowserName) => void): Promise<void> {
  for (const [name, browser] of Object.entries(browsers)) {
    const reason = await whyNotHere(browser.capabilities);
    describe(name, () => {
      if (reason === undefined) define(browser, name as BrowserName);
      else test.skip(reason, () => {});
    });
  }
}

/** A device that computes nothing, with those of the features that kernels ask for and none besides. */
export function nullDevice(capabilities: Capabilities): Promise<GPUDevice> {
  return deviceWith(featuresOf(capabilities));
}

async function deviceWith(requiredFeatures: GPUFeatureName[]): Promise<GPUDevice> {
  const adapter = await nullAdapter();
  const device = await adapter.requestDevice({ requiredFeatures });
  // Whatever a pipeline is refused for is told by its promise too.
  device.addEventListener('uncapturederror', (event) => event.preventDefault());
  return device;
}

/** Features by the extension of WGSL that each is. */
const extensions = new Map<string, GPUFeatureName>([
  ['f16', 'shader-f16'],
  ['subgroups', 'subgroups'],
  ['chromium_experimental_subgroup_matrix', 'chromium-experimental-subgroup-matrix' as GPUFeatureName],
]);

/** Lines of a text that enable an extension, with the feature that it is. */
function enabledBy(code: string): { line: string; feature: GPUFeatureName }[] {
  return [...code.matchAll(/^enable (\w+);$/gm)].flatMap(([line, name]) => {
    const feature = extensions.get(name!);
    return feature === undefined ? [] : [{ line, feature }];
  });
}

/** By the features they have. */
const devices = new Map<string, Promise<GPUDevice>>();
/** What Dawn has against kernels: browsers have most of them in common, and compiling takes the time. */
const compiled = new Map<string, Promise<ShaderError | undefined>>();

/** Compiles a kernel, once, on a device that has the features it enables and none besides. */
function compile(kernel: Kernel, uniform: boolean): Promise<ShaderError | undefined> {
  const key = [...kernel.bindings, uniform, kernel.code].join();
  const known = compiled.get(key);
  if (known) return known;
  const made = compileAnew(kernel, uniform);
  compiled.set(key, made);
  return made;
}

async function compileAnew(kernel: Kernel, uniform: boolean): Promise<ShaderError | undefined> {
  const features = enabledBy(kernel.code).map(({ feature }) => feature);
  const key = features.toSorted().join();
  const device = devices.get(key) ?? deviceWith(features);
  devices.set(key, device);
  try {
    await new PipelineCache(await device).get(kernel, uniform);
    return undefined;
  } catch (error) {
    if (error instanceof ShaderError) return error;
    throw error;
  }
}

/** A kernel that a device does not take. */
export interface Refusal {
  kernel: string;
  /** Begins with line and column where the text is wrong. */
  message: string;
  /** That line of the text. */
  line: string | undefined;
}

/** What an error says, without all of the text. */
export function refusalOf({ kernel, messages, source }: ShaderError): Refusal {
  const place = /^(\d+):/.exec(messages);
  const line = place ? source.split('\n')[Number(place[1]) - 1] : undefined;
  return { kernel, message: messages, line };
}

/** Threads of the null backend's largest subgroups. */
const SUBGROUP = 128;

/** Takes or refuses kernels as a device with such capabilities would. */
export class KernelCheck {
  readonly #capabilities: Capabilities;
  readonly #checked = new Map<string, Promise<Refusal | undefined>>();

  constructor(capabilities: Capabilities) {
    this.#capabilities = capabilities;
  }

  /** Distinct kernels so far. */
  get size(): number {
    return this.#checked.size;
  }

  /** The kernels of a plan that are refused. */
  async plan({ steps }: Plan): Promise<Refusal[]> {
    const dispatches = steps.filter((step) => step.kind === 'dispatch');
    const found = await Promise.all(
      dispatches.map(({ kernel, params }) => this.kernel(kernel, params.byteLength > 0)),
    );
    return [...new Set(found)].filter((refusal) => refusal !== undefined);
  }

  /** @param uniform whether a uniform block follows the storage bindings */
  kernel(kernel: Kernel, uniform: boolean): Promise<Refusal | undefined> {
    const known = this.#checked.get(kernel.code);
    if (known) return known;
    const checked = this.#check(kernel, uniform);
    this.#checked.set(kernel.code, checked);
    return checked;
  }

  async #check(kernel: Kernel, uniform: boolean): Promise<Refusal | undefined> {
    const offered = featuresOf(this.#capabilities);
    const missing = enabledBy(kernel.code).find(({ feature }) => !offered.includes(feature));
    if (missing) return { kernel: kernel.name, message: `needs ${missing.feature}`, line: missing.line };
    const error = await compile(kernel, uniform);
    if (!error || this.#hasMemoryFor(error.messages)) return undefined;
    if (!this.#hasThreadsFor(error.messages)) return refusalOf(error);
    // Memory is counted only of workgroups that the null backend would start.
    const code = kernel.code.replace(/@workgroup_size\([^)]*\)/, `@workgroup_size(${SUBGROUP})`);
    return this.#check({ ...kernel, code }, uniform);
  }

  // The null backend's limits are the least that WebGPU allows, and its subgroups may be as large as any. It looks at
  // workgroups when all else about a kernel is right, and tells what they need: that is held against the device in
  // question instead.

  #hasMemoryFor(message: string): boolean {
    const bytes = /: The total use of workgroup storage \((\d+) bytes\) is larger/.exec(message)?.[1];
    return bytes !== undefined && Number(bytes) <= this.#capabilities.limits.maxComputeWorkgroupStorageSize;
  }

  #hasThreadsFor(message: string): boolean {
    const { limits, subgroupMaxSize } = this.#capabilities;
    const sizes = /: Entry-point uses workgroup_size\((\d+), (\d+), (\d+)\) that exceeds/.exec(message);
    if (sizes) {
      const [x, y, z] = sizes.slice(1).map(Number) as [number, number, number];
      return x <= limits.maxComputeWorkgroupSizeX && x * y * z <= limits.maxComputeInvocationsPerWorkgroup;
    }
    const x =
      /: The x-dimension of workgroup_size \((\d+)\) must be a multiple of the device maxSubgroupSize/.exec(
        message,
      )?.[1];
    return x !== undefined && Number(x) % subgroupMaxSize === 0;
  }
}
