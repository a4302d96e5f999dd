import type { Dispatch, PlanBuffer } from '../plan/plan.ts';

/** Sets of run-time buffers remembered. Callers alternate between a few tensors; older ones are not coming back. */
const REMEMBERED = 8;

/** The bind groups of one step: one, or where inputs and outputs of the run are bound, one per set of them. */
export class BindGroups {
  readonly #step: Dispatch;
  readonly #layout: GPUBindGroupLayout;
  readonly #uniform: GPUBufferBinding | undefined;
  /** Positions in the step's bindings whose buffer differs from run to run. */
  readonly #varying: number[];
  /** Most recently used last. */
  readonly #groups: { key: (GPUBuffer | undefined)[]; group: GPUBindGroup }[] = [];

  constructor(
    buffers: readonly PlanBuffer[],
    step: Dispatch,
    layout: GPUBindGroupLayout,
    uniform: GPUBufferBinding | undefined,
  ) {
    this.#step = step;
    this.#layout = layout;
    this.#uniform = uniform;
    this.#varying = step.buffers.flatMap((id, position) => {
      const { kind } = buffers[id]!.content;
      return kind === 'input' || kind === 'output' ? [position] : [];
    });
  }

  /** @param buffers by plan id */
  get(device: GPUDevice, buffers: readonly (GPUBuffer | undefined)[]): GPUBindGroup {
    if (this.#varying.length === 0 && this.#groups.length > 0) return this.#groups[0]!.group;
    const key = this.#varying.map((position) => buffers[this.#step.buffers[position]!]);
    const known = this.#groups.findIndex((entry) => entry.key.every((buffer, i) => buffer === key[i]));
    if (known >= 0) {
      const [entry] = this.#groups.splice(known, 1);
      this.#groups.push(entry!);
      return entry!.group;
    }
    const resources: GPUBufferBinding[] = this.#step.buffers.map((id) => ({ buffer: buffers[id]! }));
    if (this.#uniform) resources.push(this.#uniform);
    const group = device.createBindGroup({
      label: this.#step.label,
      layout: this.#layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    this.#groups.push({ key, group });
    if (this.#groups.length > REMEMBERED) this.#groups.shift();
    return group;
  }
}
