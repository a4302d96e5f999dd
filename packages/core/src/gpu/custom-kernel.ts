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

/** Parameters of one dispatch lie at multiples of this (WebGPU's default minUniformBufferOffsetAlignment). */
const SLOT_BYTES = 256;

/** Bind groups kept: a batch of eight jobs alternates between a few sets of buffers each. */
const KEPT_GROUPS = 256;

/** Numbers that stand for buffers in keys. */
const ids = new WeakMap<GPUBuffer, number>();
let nextId = 0;

function idOf(buffer: GPUBuffer): number {
  let id = ids.get(buffer);
  if (id === undefined) ids.set(buffer, (id = nextId++));
  return id;
}

/** A compiled custom kernel. Work that is submitted later sees what it wrote. */
export class CustomKernel {
  readonly name: string;
  readonly #engine: Engine;
  readonly #spec: CustomKernelSpec;
  readonly #pipeline: Pipeline;
  /** Bytes of one dispatch's parameters; 0 for none. */
  readonly #paramBytes: number;
  /** Parameters of the dispatches that are gathered, slot by slot. */
  #params = new DataView(new ArrayBuffer(SLOT_BYTES));
  #uniforms: GPUBuffer | undefined;
  /** Slots taken since parameters were last uploaded. */
  #used = 0;
  /** Bind groups by the buffers bound; those used last are last. */
  readonly #groups = new Map<string, GPUBindGroup>();

  private constructor(engine: Engine, spec: CustomKernelSpec, pipeline: Pipeline, paramBytes: number) {
    this.name = spec.name;
    this.#engine = engine;
    this.#spec = spec;
    this.#pipeline = pipeline;
    this.#paramBytes = paramBytes;
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
    const pipeline = await engine.pipelines.get(shader.kernel, fields.length > 0 && 'moving');
    return new CustomKernel(engine, spec, pipeline, fields.length > 0 ? shader.params.byteLength : 0);
  }

  /**
   * Submits one dispatch; inside `engine.launches.together` it goes with the others there.
   *
   * @param workgroups spread over the grid; the shader finds its own with `flat_workgroup`
   */
  run(
    buffers: Readonly<Record<string, GPUBuffer>>,
    params: Readonly<Record<string, number>>,
    workgroups: number,
  ): void {
    const { launches, capabilities } = this.#engine;
    const names = [...Object.keys(this.#spec.inputs), ...Object.keys(this.#spec.outputs)];
    const bound = names.map((name) => buffers[name]!);
    const slot = this.#paramBytes > 0 ? this.#used++ : 0;
    this.#write(slot, params);
    launches.launch({ kernel: this, bound, slot, grid: gridFor(workgroups, capabilities) });
  }

  /** @internal */
  get pipeline(): GPUComputePipeline {
    return this.#pipeline.compute;
  }

  /** @internal Uploads the parameters of all dispatches gathered. */
  upload(): void {
    if (this.#used === 0) return;
    const bytes = this.#used * SLOT_BYTES;
    this.#used = 0;
    const { device } = this.#engine;
    if (!this.#uniforms || this.#uniforms.size < bytes) {
      // What was submitted before still sees the old one.
      this.#uniforms?.destroy();
      this.#groups.clear();
      this.#uniforms = device.createBuffer({
        label: this.name,
        size: this.#params.byteLength,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
    }
    device.queue.writeBuffer(this.#uniforms, 0, new Uint8Array(this.#params.buffer, 0, bytes));
  }

  /** @internal Binds these buffers, and the parameters in this slot. */
  bind(pass: GPUComputePassEncoder, bound: readonly GPUBuffer[], slot: number): void {
    const group = this.#group(bound);
    if (this.#uniforms) pass.setBindGroup(0, group, [slot * SLOT_BYTES]);
    else pass.setBindGroup(0, group);
  }

  #group(bound: readonly GPUBuffer[]): GPUBindGroup {
    const key = bound.map(idOf).join();
    const known = this.#groups.get(key);
    if (known) {
      this.#groups.delete(key);
      this.#groups.set(key, known);
      return known;
    }
    const resources: GPUBufferBinding[] = bound.map((buffer) => ({ buffer }));
    if (this.#uniforms) resources.push({ buffer: this.#uniforms, size: this.#paramBytes });
    const group = this.#engine.device.createBindGroup({
      label: this.name,
      layout: this.#pipeline.layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    this.#groups.set(key, group);
    const [oldest] = this.#groups.keys();
    if (this.#groups.size > KEPT_GROUPS) this.#groups.delete(oldest!);
    return group;
  }

  #write(slot: number, params: Readonly<Record<string, number>>): void {
    if (this.#paramBytes === 0) return;
    const first = slot * SLOT_BYTES;
    if (this.#params.byteLength < first + SLOT_BYTES) {
      const larger = new Uint8Array(this.#params.byteLength * 2);
      larger.set(new Uint8Array(this.#params.buffer));
      this.#params = new DataView(larger.buffer);
    }
    Object.entries(this.#spec.params).forEach(([name, type], i) => {
      const at = first + i * 4;
      const value = params[name]!;
      if (type === 'f32') this.#params.setFloat32(at, value, true);
      else if (type === 'i32') this.#params.setInt32(at, value, true);
      else this.#params.setUint32(at, value, true);
    });
  }

  dispose(): void {
    this.#uniforms?.destroy();
    this.#groups.clear();
  }
}
