import { ShaderError } from '../errors.ts';
import type { Kernel } from '../plan/plan.ts';

/** A compiled kernel with the layout that its bind groups need. */
export interface Pipeline {
  compute: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

/** Whether a uniform block follows the storage bindings; a `moving` one is bound with an offset. */
export type UniformBinding = boolean | 'moving';

/** Pipelines by WGSL text, compiled once, asynchronously, all at the same time. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Number of pipelines compiled so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** @throws ShaderError with the browser's messages and the source */
  get(kernel: Kernel, uniform: UniformBinding): Promise<Pipeline> {
    const key = uniform === 'moving' ? `moving ${kernel.code}` : kernel.code;
    const known = this.#pipelines.get(key);
    if (known) return known;
    const made = this.#compile(kernel, uniform);
    this.#pipelines.set(key, made);
    return made;
  }

  async #compile(kernel: Kernel, uniform: UniformBinding): Promise<Pipeline> {
    const layout = this.#layout(kernel.bindings, uniform);
    const module = this.#device.createShaderModule({ label: kernel.name, code: kernel.code });
    try {
      const compute = await this.#device.createComputePipelineAsync({
        label: kernel.name,
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: 'main' },
      });
      return { compute, layout };
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const text = messages.map((m) => `${m.lineNum}:${m.linePos} ${m.type}: ${m.message}`).join('\n');
      throw new ShaderError(kernel.name, text || String(error), kernel.code);
    }
  }

  #layout(bindings: readonly ('read' | 'write')[], uniform: UniformBinding): GPUBindGroupLayout {
    const key = `${bindings.join()} ${uniform}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const types: GPUBufferBindingType[] = bindings.map((b) =>
      b === 'read' ? 'read-only-storage' : 'storage',
    );
    if (uniform) types.push('uniform');
    const layout = this.#device.createBindGroupLayout({
      label: key,
      entries: types.map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type, hasDynamicOffset: type === 'uniform' && uniform === 'moving' },
      })),
    });
    this.#layouts.set(key, layout);
    return layout;
  }
}
