import { UnsupportedOpError, type UnsupportedOp } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { IslandHost, PreparedIsland } from '../gpu/program.ts';
import { readTensor } from '../onnx/reader.ts';
import type { Capabilities } from '../plan/capabilities.ts';
import type { Island, Port } from '../plan/plan.ts';
import { bytesOf } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/shape.ts';
import { rawBytes } from '../tensor/tensor.ts';
import { borderType } from '../plan/island-model.ts';
import { fromOrt, toOrt } from './ort-tensor.ts';
import { withOrt, type Ort } from './runtime.ts';

/** Where onnxruntime runs an island: on our device with our buffers, or on the CPU with copies both ways. */
export type Provider = 'webgpu' | 'cpu';

/** Operators whose kernels in onnxruntime need subgroups of at least 8; with fewer they give wrong numbers. */
const subgroupOperators = new Set([
  'Attention',
  'MultiHeadAttention',
  'GroupQueryAttention',
  'SparseAttention',
]);

/** What an island did so far. */
export interface IslandRecord {
  island: Island;
  provider: Provider;
  /** Why it is not on the GPU, where it is not. */
  note: string | undefined;
  runs: number;
  /** Wall time of all runs, until onnxruntime gave control back. */
  milliseconds: number;
}

/** Runs islands with onnxruntime-web. */
export class OrtIslands implements IslandHost {
  readonly records: WeakMap<Island, IslandRecord> = new WeakMap();

  /** @throws UnsupportedOpError when onnxruntime cannot run the island either; source errors; the signal's reason */
  async prepare(island: Island, engine: Engine, signal: AbortSignal | undefined): Promise<PreparedIsland> {
    const note = reasonForCpu(island.operators, engine.capabilities);
    const record: IslandRecord = {
      island,
      provider: note ? 'cpu' : 'webgpu',
      note,
      runs: 0,
      milliseconds: 0,
    };
    this.records.set(island, record);
    const prepared = new OrtIsland(engine, record);
    try {
      await prepared.open(signal);
      return prepared;
    } catch (error) {
      prepared.dispose();
      throw error;
    }
  }
}

/** Why a group of operators must not run on this GPU in onnxruntime; `undefined` where it may. */
export function reasonForCpu(
  operators: readonly UnsupportedOp[],
  { features, subgroupMinSize }: Capabilities,
): string | undefined {
  const affected = operators.find(({ op }) => subgroupOperators.has(op));
  return affected && features.subgroups && subgroupMinSize < 8
    ? `onnxruntime's ${affected.op} is wrong with subgroups of ${subgroupMinSize}`
    : undefined;
}

class OrtIsland implements PreparedIsland {
  readonly #engine: Engine;
  readonly #record: IslandRecord;
  #session: Ort.InferenceSession | undefined;

  constructor(engine: Engine, record: IslandRecord) {
    this.#engine = engine;
    this.#record = record;
  }

  async open(signal: AbortSignal | undefined): Promise<void> {
    const { island } = this.#record;
    const externalData: { path: string; data: Uint8Array }[] = [];
    for (const [path, ref] of island.weights)
      externalData.push({ path, data: await readTensor(ref, signal) });
    signal?.throwIfAborted();
    const create = (ort: typeof Ort, provider: Provider): Promise<Ort.InferenceSession> =>
      ort.InferenceSession.create(island.model, {
        externalData,
        executionProviders: [
          provider === 'cpu'
            ? 'wasm'
            : { name: 'webgpu', device: this.#engine.device, validationMode: 'wgpuOnly' },
        ],
        logSeverityLevel: 3,
      });
    const opening = withOrt(async (ort) => {
      // A session that fails on WebGPU leaves onnxruntime unable to make another: first see on the CPU that it works.
      const tried = await create(ort, 'cpu');
      if (this.#record.provider === 'cpu') {
        this.#session = tried;
        return;
      }
      try {
        this.#session = await create(ort, 'webgpu');
        await tried.release();
      } catch (error) {
        this.#toCpu(error);
        this.#session = tried;
      }
    });
    try {
      await this.#engine.until(opening, signal);
    } catch (error) {
      signal?.throwIfAborted();
      this.#engine.check();
      // The session may still come.
      void opening.catch(() => {}).then(() => this.dispose());
      throw unsupported(island, error);
    }
  }

  async run(inputs: readonly GPUBuffer[], outputs: readonly GPUBuffer[]): Promise<void> {
    const record = this.#record;
    const start = performance.now();
    if (record.provider === 'webgpu') {
      try {
        await this.#engine.until(this.#runOnGpu(inputs, outputs));
      } catch (error) {
        this.#engine.check();
        // Some kernels of onnxruntime's are found out only now: it claims them and throws when they run.
        this.#toCpu(error);
        this.dispose();
        await this.open(undefined);
      }
    }
    if (record.provider === 'cpu') await this.#runOnCpu(inputs, outputs);
    record.runs++;
    record.milliseconds += performance.now() - start;
  }

  #toCpu(error: unknown): void {
    this.#record.provider = 'cpu';
    this.#record.note = `onnxruntime cannot run it on the GPU (${error instanceof Error ? error.message : String(error)})`;
  }

  #runOnGpu(inputs: readonly GPUBuffer[], outputs: readonly GPUBuffer[]): Promise<void> {
    const { island } = this.#record;
    return withOrt(async (ort) => {
      const bind = (ports: readonly Port[], buffers: readonly GPUBuffer[]): Record<string, Ort.Tensor> =>
        Object.fromEntries(
          ports.map(({ name, view }, i) => [
            name,
            ort.Tensor.fromGpuBuffer(buffers[i]!, {
              dataType: borderType(view.dtype),
              dims: [...view.shape],
            }),
          ]),
        );
      await this.#session!.run(bind(island.inputs, inputs), bind(island.outputs, outputs));
    });
  }

  async #runOnCpu(inputs: readonly GPUBuffer[], outputs: readonly GPUBuffer[]): Promise<void> {
    const { island } = this.#record;
    const engine = this.#engine;
    const data = await Promise.all(
      island.inputs.map(({ view }, i) =>
        engine.readBack.read(inputs[i]!, Math.max(4, bytesOf(borderType(view.dtype), sizeOf(view.shape)))),
      ),
    );
    const results = await withOrt(async (ort) => {
      const feeds = island.inputs.map(({ name, view }, i) => {
        const type = borderType(view.dtype);
        const Words = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array }[type];
        const words = new Words(data[i]!.buffer, 0, sizeOf(view.shape));
        return [name, toOrt(ort, type, view.shape, words)] as const;
      });
      return this.#session!.run(Object.fromEntries(feeds));
    }).catch((error: unknown) => {
      throw unsupported(island, error);
    });
    engine.check();
    for (const [i, { name }] of island.outputs.entries()) {
      engine.write(outputs[i]!, 0, rawBytes(await fromOrt(results[name]!)));
    }
  }

  dispose(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session) void withOrt(() => session.release()).catch(() => {});
  }
}

function unsupported(island: Island, error: unknown): UnsupportedOpError {
  const why = error instanceof Error ? error.message : String(error);
  return new UnsupportedOpError(
    island.operators.map((operator) => ({
      ...operator,
      reason: `${operator.reason}, and onnxruntime cannot run it either (${why})`,
    })),
  );
}
