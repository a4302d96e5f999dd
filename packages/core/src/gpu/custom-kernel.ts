import { buildShader, gridFor, hasNativeF16, type Param } from '../kernels/shader.ts';
import type { Storage, TensorView } from '../plan/plan.ts';
import type { Engine } from './engine.ts';
import type { Pipeline } from './pipeline-cache.ts';

/** A compute kernel of the caller's own: WGSL that reaches buffers by the accessors described at `ShaderSpec`. */
export interface CustomKernelSpec {
  name: string;
  /** WGSL with `fn main`, a compute entry point. */
  body: string;
  /** Storage of each buffer read, by its name in the shader. */
  inputs: Readonly<Record<string, Storage>>;
  /** Storage of each buffer written. */
  outputs: Readonly<Record<string, Storage>>;
  /** Fields of `params`, in order. */
  params: Readonly<Record<string, Param['type']>>;
  constants?: Readonly<Record<string, number | boolean | string>>;
}

/** A compiled custom kernel. Work that is submitted later sees what it wrote. */
export class CustomKernel {
  readonly #engine: Engine;
  readonly #spec: CustomKernelSpec;
  readonly #pipeline: Pipeline;
  readonly #uniforms: GPUBuffer | undefined;
  /** Bind groups by the buffers bound; a loop alternates between few. */
  readonly #groups: { key: readonly GPUBuffer[]; group: GPUBindGroup }[] = [];

  private constructor(
    engine: Engine,
    spec: CustomKernelSpec,
    pipeline: Pipeline,
    uniforms: GPUBuffer | undefined,
  ) {
    this.#engine = engine;
    this.#spec = spec;
    this.#pipeline = pipeline;
    this.#uniforms = uniforms;
  }

  /** @throws ShaderError */
  static async create(engine: Engine, spec: CustomKernelSpec): Promise<CustomKernel> {
    engine.check();
    const placeholders = (storages: Readonly<Record<string, Storage>>): Record<string, TensorView> =>
      Object.fromEntries(
        Object.entries(storages).map(([name, storage]) => [
          name,
          { buffer: 0, dtype: 'float32', storage, shape: [], strides: [], offset: 0 },
        ]),
      );
    const fields = Object.entries(spec.params);
    const shader = buildShader(
      {
        name: spec.name,
        body: spec.body,
        inputs: placeholders(spec.inputs),
        outputs: placeholders(spec.outputs),
        params: Object.fromEntries(fields.map(([name, type]) => [name, { type, value: 0 }])),
        constants: spec.constants ?? {},
      },
      hasNativeF16(engine.capabilities, engine.precision),
    );
    const pipeline = await engine.pipelines.get(shader.kernel, fields.length > 0);
    const uniforms =
      fields.length > 0
        ? engine.device.createBuffer({
            label: spec.name,
            size: shader.params.byteLength,
            usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
          })
        : undefined;
    return new CustomKernel(engine, spec, pipeline, uniforms);
  }

  /**
   * Submits one dispatch.
   *
   * @param workgroups spread over the grid; the shader finds its own with `flat_workgroup`
   */
  run(
    buffers: Readonly<Record<string, GPUBuffer>>,
    params: Readonly<Record<string, number>>,
    workgroups: number,
  ): void {
    const { device, capabilities } = this.#engine;
    const names = [...Object.keys(this.#spec.inputs), ...Object.keys(this.#spec.outputs)];
    const bound = names.map((name) => buffers[name]!);
    if (this.#uniforms) {
      const bytes = new DataView(new ArrayBuffer(this.#uniforms.size));
      Object.entries(this.#spec.params).forEach(([name, type], i) => {
        const value = params[name]!;
        if (type === 'f32') bytes.setFloat32(i * 4, value, true);
        else if (type === 'i32') bytes.setInt32(i * 4, value, true);
        else bytes.setUint32(i * 4, value, true);
      });
      device.queue.writeBuffer(this.#uniforms, 0, bytes);
    }
    const encoder = device.createCommandEncoder({ label: this.#spec.name });
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#pipeline.compute);
    pass.setBindGroup(0, this.#bindGroup(bound));
    pass.dispatchWorkgroups(...gridFor(workgroups, capabilities));
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  #bindGroup(bound: readonly GPUBuffer[]): GPUBindGroup {
    const known = this.#groups.find(({ key }) => key.every((buffer, i) => buffer === bound[i]));
    if (known) return known.group;
    const entries = [...bound, ...(this.#uniforms ? [this.#uniforms] : [])];
    const group = this.#engine.device.createBindGroup({
      label: this.#spec.name,
      layout: this.#pipeline.layout,
      entries: entries.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    this.#groups.push({ key: bound, group });
    if (this.#groups.length > 8) this.#groups.shift();
    return group;
  }

  dispose(): void {
    this.#uniforms?.destroy();
    this.#groups.length = 0;
  }
}
