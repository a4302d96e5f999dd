import { UnsupportedDeviceError } from '../errors.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { input as inputExpr } from '../graph/expr.ts';
import { elementwise } from '../kernels/elementwise/elementwise.ts';
import type { EpilogueViews } from '../kernels/elementwise/epilogue.ts';
import { dequantize } from '../kernels/quantize/dequantize.ts';
import type { ProducedMoments } from '../kernels/group-norm/produced.ts';
import { buildShader, gridFor, hasNativeF16, scalarOf } from '../kernels/shader.ts';
import type { KernelTuning } from '../kernels/tuning.ts';
import type { TensorRef } from '../onnx/model.ts';
import { noting } from '../tuning/problems.ts';
import { bitsOf, type DataType } from '../tensor/dtype.ts';
import { sizeOf, stridesOf, type Shape } from '../tensor/shape.ts';
import type { Capabilities, Precision } from './capabilities.ts';
import { contentKey, identityOf } from './content-key.ts';
import { normalGroupsOf } from './normal-groups.ts';
import type { DispatchSpec, Lowering } from './lowering.ts';
import type {
  BufferId,
  Island,
  Join,
  Phase,
  PlanBuffer,
  Port,
  QuantizedWeight,
  Step,
  Storage,
  TensorView,
} from './plan.ts';
import { Joins, type Pair } from './joins.ts';
import { LowBitWeights } from './low-bit-weights.ts';
import { integerType, type Quantized } from './quantized.ts';
import { denseOrder, isDense, orderedStrides, rowMajor, type Order } from './view.ts';
import { splitRows } from './split-rows.ts';
import { computedStorage, fileStorage, movedBytes, paddedBytes } from './storage.ts';
import type { WeightFormat } from './weight-format.ts';

const phases: readonly Phase[] = ['load', 'request', 'run'];

export interface BuilderOptions {
  capabilities: Capabilities;
  precision: Precision;
  /** What replaces the kernels' own choice of variants. */
  tuning?: KernelTuning | undefined;
  /** Inputs whose tensors stay the same over several runs: what depends on them alone runs once. */
  stableInputs?: ReadonlySet<string>;
  /** What to make of float weights; `as-stored` by default. */
  weights?: WeightFormat | undefined;
  /** Layers that may be quantized where `weights` says so, by default by rule; the others are float16 then. */
  quantizable?: ReadonlySet<Node>;
  /** Storage of inputs that lie on the GPU already in another form than their dtype's own. */
  inputStorage?: ReadonlyMap<string, Storage>;
}

/** What an island reads and writes, by the names in its model. */
export interface IslandPorts {
  inputs: { name: string; value: Value }[];
  outputs: { name: string; value: Value }[];
}

/** Collects buffers and steps while a graph's nodes are lowered one after the other. */
export class PlanBuilder implements Lowering {
  readonly capabilities: Capabilities;
  readonly precision: Precision;
  readonly nativeF16: boolean;
  readonly tuning: KernelTuning;
  /** Problems for which the tuning replaced what the rules chose. */
  readonly tuned: Set<string> = new Set();
  readonly buffers: PlanBuffer[] = [];
  readonly steps: Step[] = [];
  readonly #options: BuilderOptions;
  readonly #views = new Map<Value, TensorView>();
  /** Results that leave the graph as float32 are stored so, whatever the precision. */
  readonly #exact: ReadonlySet<Value>;
  /** Copies made by `dense`, so that several consumers share one. */
  readonly #copies = new Map<string, TensorView>();
  /** Parts of weights that are too large for one buffer. */
  readonly #parts = new Map<BufferId, readonly TensorView[]>();
  readonly #low = new LowBitWeights();
  readonly #joins = new Joins();
  readonly #normalGroups: ReadonlyMap<Value, number>;
  readonly #moments = new Map<BufferId, { of: TensorView; moments: ProducedMoments }>();
  #node: Node | undefined;

  constructor(graph: Graph, options: BuilderOptions) {
    this.capabilities = options.capabilities;
    this.precision = options.precision;
    this.nativeF16 = hasNativeF16(options.capabilities, options.precision);
    this.tuning = noting(options.tuning ?? {}, this.tuned);
    this.#options = options;
    this.#normalGroups = normalGroupsOf(graph);
    this.#exact = new Set(graph.outputs.filter((value) => value.dtype === 'float32'));
  }

  get weights(): WeightFormat {
    const { weights = 'as-stored' } = this.#options;
    if (weights !== 'int4' && weights !== 'int8') return weights;
    return this.#node && this.#options.quantizable?.has(this.#node) ? weights : 'f16';
  }

  /** Labels the dispatches that follow. */
  enter(node: Node | undefined): void {
    this.#node = node;
  }

  view(value: Value): TensorView {
    const known = this.#views.get(value);
    if (known) return known;
    const view = this.#provide(value);
    this.#views.set(value, view);
    return view;
  }

  phase(view: TensorView): Phase {
    return this.buffers[view.buffer]!.phase;
  }

  dense(value: Value, order: Order = rowMajor(value.shape.length)): TensorView {
    return this.materialize(this.view(value), { order });
  }

  materialize(view: TensorView, want: { order?: Order; storage?: Storage }): TensorView {
    const order = want.order ?? denseOrder(view) ?? rowMajor(view.shape.length);
    const storage = want.storage ?? computedStorage(view.storage);
    const storageFits = want.storage === undefined || want.storage === view.storage;
    if (storageFits && isDense(view, order)) return view;
    const key = JSON.stringify([view, order, storage]);
    const made = this.#copies.get(key);
    if (made) return made;
    const copy = this.#allocate(view.shape, view.dtype, storage, order, `${this.#node?.name ?? ''}:copy`);
    this.dispatch(
      elementwise(`copy_${view.storage}_${storage}`, inputExpr(0, scalarOf(view.storage)), [view], copy),
    );
    this.#copies.set(key, copy);
    return copy;
  }

  allocate(
    value: Value,
    options: { order?: Order; scalarStores?: boolean; storage?: Storage } = {},
  ): TensorView {
    const storage = options.storage ?? this.#storageFor(value, options.scalarStores ?? false);
    const order = options.order ?? rowMajor(value.shape.length);
    const view = this.#allocate(value.shape, value.dtype, storage, order, value.name);
    this.#views.set(value, view);
    return view;
  }

  alias(value: Value, view: TensorView): void {
    this.#views.set(value, { ...view, dtype: value.dtype });
  }

  parts(view: TensorView, step: number): readonly TensorView[] {
    const { content, bytes } = this.buffers[view.buffer]!;
    const { maxBufferSize, maxStorageBufferBindingSize } = this.capabilities.limits;
    const largest = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes <= largest || content.kind !== 'weight') return [view];
    const known = this.#parts.get(view.buffer);
    if (known) return known;
    const made = splitRows(content.ref, largest, step).map((ref) => {
      const shape = ref.dims;
      const buffer = this.#addBuffer({
        label: ref.name,
        bytes: paddedBytes(view.storage, sizeOf(shape)),
        phase: 'load',
        content: { kind: 'weight', ref },
      });
      return rowMajorView(buffer, view.dtype, view.storage, shape);
    });
    const parts = made.length > 0 ? made : [view];
    this.#parts.set(view.buffer, parts);
    return parts;
  }

  dequantized(value: Value, from: Quantized): void {
    const view = this.allocate(value);
    this.dispatch(dequantize(from, view));
    if (this.phase(view) === 'load' && bitsOf[integerType(from)] <= 8) {
      this.#low.dequantized(view.buffer, from);
    }
  }

  quantized(view: TensorView): Quantized | undefined {
    return this.#low.get(view.buffer);
  }

  keepsIntegers(weight: TensorView, format: string, buffers: readonly TensorView[]): void {
    const from = this.quantized(weight)?.x ?? weight;
    this.#low.kept(from.buffer, format, buffers);
  }

  inflates(view: TensorView, reason: string): void {
    this.#low.inflated(view.buffer, reason);
  }

  /** Weights of few bits among the buffers that the plan needs. */
  quantizedWeights(isNeeded: (id: BufferId) => boolean): QuantizedWeight[] {
    return this.#low.list(this.buffers, isNeeded);
  }

  joined(value: Value, parts: readonly TensorView[], axis: number): void {
    const whole = this.view(value);
    this.#joins.add(value.name, whole, parts, axis, this.phase(whole));
  }

  pair(view: TensorView): Pair | undefined {
    return this.tuning.copiesPairs === true ? undefined : this.#joins.pair(view);
  }

  normalGroups(value: Value): number | undefined {
    return this.#normalGroups.get(value);
  }

  produced(view: TensorView, moments: ProducedMoments): void {
    this.#moments.set(view.buffer, { of: view, moments });
  }

  moments(view: TensorView): { of: TensorView; moments: ProducedMoments } | undefined {
    return this.#moments.get(view.buffer);
  }

  /** @param readerOf label of a step that reads a buffer */
  joins(readerOf: (id: BufferId) => string | undefined): Join[] {
    return this.#joins.list(readerOf);
  }

  scratch(label: string, shape: Shape, storage: Storage): TensorView {
    const dtype = scalarOf(storage) === 'f32' ? 'float32' : scalarOf(storage) === 'i32' ? 'int32' : 'uint32';
    return this.#allocate(
      shape,
      dtype,
      storage,
      rowMajor(shape.length),
      `${this.#node?.name ?? ''}:${label}`,
    );
  }

  constant(
    data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
    shape: Shape,
  ): TensorView {
    const [dtype, storage] =
      data instanceof Float32Array
        ? (['float32', 'f32'] as const)
        : data instanceof Int32Array
          ? (['int32', 'i32'] as const)
          : (['uint32', 'u32'] as const);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return this.#constantView(bytes, shape, dtype, storage, this.#node?.name ?? 'constant');
  }

  epilogue(node: Node): EpilogueViews | undefined {
    if (!node.epilogue) return undefined;
    return { expr: node.epilogue.expr, operands: node.epilogue.inputs.map((value) => this.view(value)) };
  }

  dispatch(spec: DispatchSpec): void {
    const outputs = Object.values(spec.outputs);
    if (outputs.every((view) => sizeOf(view.shape) === 0)) return;
    const shader = buildShader(spec, this.nativeF16);
    const grid =
      typeof spec.workgroups === 'number' ? gridFor(spec.workgroups, this.capabilities) : spec.workgroups;
    this.#checkLimits(spec.name, shader.buffers.length, grid);
    const inputs = Object.values(spec.inputs);
    const phase = latest(inputs.map((view) => this.phase(view)));
    const key =
      phase === 'load'
        ? contentKey([shader.kernel.code, shader.params, ...inputs.map((view) => this.#loadKey(view.buffer))])
        : undefined;
    outputs.forEach((view, index) => {
      const buffer = this.buffers[view.buffer]!;
      buffer.phase = latest([buffer.phase, phase]);
      if (buffer.content.kind === 'computed' && key !== undefined) {
        const earlier = buffer.content.key;
        buffer.content = { kind: 'computed', key: contentKey([key, String(index), earlier ?? '']) };
      }
    });
    this.steps.push({
      kind: 'dispatch',
      label: this.#node ? this.#node.name || this.#node.op : spec.name,
      kernel: shader.kernel,
      buffers: shader.buffers,
      params: shader.params,
      grid,
      phase,
      work: { flops: spec.work?.flops ?? 0, bytes: spec.work?.bytes ?? movedBytes([...inputs, ...outputs]) },
    });
  }

  /** A group of nodes that another runtime computes. */
  island(island: Omit<Island, 'kind' | 'phase' | 'inputs' | 'outputs'>, ports: IslandPorts): void {
    const inputs = ports.inputs.map(({ name, value }): Port => {
      const view = this.view(value);
      const order = rowMajor(value.shape.length);
      return { name, view: this.materialize(view, { order, storage: scalarOf(view.storage) }) };
    });
    const outputs = ports.outputs.map(({ name, value }): Port => {
      const storage = scalarOf(fileStorage[value.dtype as Exclude<DataType, 'string'>]);
      return { name, view: this.allocate(value, { storage }) };
    });
    // The load phase may be skipped where its results are resident already; what an island computes never is.
    const phase = latest(['request', ...inputs.map(({ view }) => this.phase(view))]);
    for (const { view } of outputs) this.buffers[view.buffer]!.phase = phase;
    this.steps.push({ kind: 'island', ...island, phase, inputs, outputs });
  }

  /**
   * The final form of a graph output: row-major from element 0, in memory of its own. Called once for each output,
   * after all nodes.
   */
  output(value: Value): TensorView {
    const view = this.view(value);
    const { content } = this.buffers[view.buffer]!;
    const own = content.kind === 'computed' && this.phase(view) === 'run' && isDense(view);
    const exact = !this.#exact.has(value) || view.storage === 'f32';
    const storage = this.#exact.has(value) ? 'f32' : computedStorage(view.storage);
    let final = view;
    if (!own || !exact) {
      final = this.#allocate(value.shape, value.dtype, storage, rowMajor(value.shape.length), value.name);
      this.dispatch(
        elementwise(`copy_${view.storage}_${storage}`, inputExpr(0, scalarOf(view.storage)), [view], final),
      );
    }
    const buffer = this.buffers[final.buffer]!;
    buffer.content = { kind: 'output', name: value.name };
    // The caller's memory is written at every run, also with what is known earlier (`settlePhases`).
    buffer.phase = 'run';
    return final;
  }

  #checkLimits(kernel: string, bindings: number, grid: readonly number[]): void {
    const { maxStorageBuffersPerShaderStage, maxComputeWorkgroupsPerDimension } = this.capabilities.limits;
    const where = `'${kernel}' for '${this.#node?.name ?? ''}'`;
    if (bindings > maxStorageBuffersPerShaderStage) {
      throw new UnsupportedDeviceError(
        `${where} binds ${bindings} buffers; this device allows ${maxStorageBuffersPerShaderStage}.`,
        'maxStorageBuffersPerShaderStage',
      );
    }
    if (Math.max(...grid) > maxComputeWorkgroupsPerDimension) {
      throw new UnsupportedDeviceError(
        `${where} needs a grid of ${grid.join('×')}; this device allows ${maxComputeWorkgroupsPerDimension} in each ` +
          'dimension. Use a smaller size or batch.',
        'maxComputeWorkgroupsPerDimension',
      );
    }
  }

  #provide(value: Value): TensorView {
    switch (value.origin.kind) {
      case 'input':
        return this.#inputView(value);
      case 'weight':
        return this.#weightView(value, value.origin.ref);
      case 'constant': {
        const storage = computedStorage(fileStorage[value.dtype as Exclude<DataType, 'string'>]);
        const scalar = scalarOf(storage);
        const data = value.origin.data;
        const typed =
          scalar === 'f32'
            ? Float32Array.from(data)
            : scalar === 'i32'
              ? saturated(data)
              : Uint32Array.from(data);
        return this.#constantView(new Uint8Array(typed.buffer), value.shape, value.dtype, scalar, value.name);
      }
      case 'node':
        throw new Error(
          `Internal error: '${value.name}' is read before node '${value.origin.node.name}' is lowered`,
        );
    }
  }

  #inputView(value: Value): TensorView {
    const storage =
      this.#options.inputStorage?.get(value.name) ?? fileStorage[value.dtype as Exclude<DataType, 'string'>];
    const buffer = this.#addBuffer({
      label: value.name,
      bytes: paddedBytes(storage, sizeOf(value.shape)),
      phase: this.#options.stableInputs?.has(value.name) ? 'request' : 'run',
      content: { kind: 'input', name: value.name },
    });
    return rowMajorView(buffer, value.dtype, storage, value.shape);
  }

  #weightView(value: Value, ref: TensorRef): TensorView {
    const storage = fileStorage[value.dtype as Exclude<DataType, 'string'>];
    const buffer = this.#addBuffer({
      label: value.name,
      bytes: paddedBytes(storage, sizeOf(value.shape)),
      phase: 'load',
      content: { kind: 'weight', ref },
    });
    return rowMajorView(buffer, value.dtype, storage, value.shape);
  }

  #constantView(
    data: Uint8Array<ArrayBuffer>,
    shape: Shape,
    dtype: DataType,
    storage: Storage,
    label: string,
  ): TensorView {
    const bytes = paddedBytes(storage, sizeOf(shape));
    const padded = new Uint8Array(bytes);
    padded.set(data);
    const buffer = this.#addBuffer({
      label,
      bytes,
      phase: 'load',
      content: { kind: 'constant', data: padded },
    });
    return rowMajorView(buffer, dtype, storage, shape);
  }

  #allocate(shape: Shape, dtype: DataType, storage: Storage, order: Order, label: string): TensorView {
    const buffer = this.#addBuffer({
      label,
      bytes: paddedBytes(storage, sizeOf(shape)),
      phase: 'load',
      content: { kind: 'computed' },
    });
    return { buffer, dtype, storage, shape, strides: orderedStrides(shape, order), offset: 0 };
  }

  #storageFor(value: Value, scalarStores: boolean): Storage {
    const natural = computedStorage(fileStorage[value.dtype as Exclude<DataType, 'string'>]);
    if (scalarOf(natural) !== 'f32') return natural;
    if (this.precision === 'f32' || this.#exact.has(value)) return 'f32';
    return scalarStores && !this.nativeF16 ? 'f32' : 'f16';
  }

  /** Names what a load-phase buffer holds, the same in every plan of the model. */
  #loadKey(id: BufferId): string {
    const { content } = this.buffers[id]!;
    switch (content.kind) {
      case 'weight':
        return identityOf(content.ref);
      case 'constant':
        return contentKey([content.data]);
      case 'computed':
        return content.key ?? '';
      default:
        throw new Error(`Internal error: '${content.name}' cannot be known at load`);
    }
  }

  #addBuffer(buffer: PlanBuffer): BufferId {
    this.buffers.push(buffer);
    return this.buffers.length - 1;
  }
}

function latest(of: readonly Phase[]): Phase {
  return phases[Math.max(0, ...of.map((phase) => phases.indexOf(phase)))]!;
}

function rowMajorView(buffer: BufferId, dtype: DataType, storage: Storage, shape: Shape): TensorView {
  return { buffer, dtype, storage, shape, strides: stridesOf(shape), offset: 0 };
}

/** 64-bit integers beyond 32 bits (INT64_MAX as "no limit") saturate. */
function saturated(data: Float64Array): Int32Array<ArrayBuffer> {
  return Int32Array.from(data, (x) => Math.min(Math.max(x, -2147483648), 2147483647));
}
