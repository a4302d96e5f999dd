import { untilAbort } from '../abort.ts';
import { CalotypeError, InvalidModelError } from '../errors.ts';
import type { LoadOptions } from '../gpu/load.ts';
import type { Model } from '../onnx/model.ts';
import { readTensor } from '../onnx/reader.ts';
import { writeModel } from '../onnx/write.ts';
import type { Tensors } from '../session/feeds.ts';
import { fromOrt, toOrt } from './ort-tensor.ts';
import { withOrt, type Ort } from './runtime.ts';

/** A whole model on onnxruntime-web's CPU provider: where there is no WebGPU, or shapes depend on data. */
export class WholeGraph {
  readonly #session: Ort.InferenceSession;

  private constructor(session: Ort.InferenceSession) {
    this.#session = session;
  }

  /** @throws InvalidModelError for a model that onnxruntime refuses; source errors; the signal's reason */
  static async create(model: Model, file: string, { signal, onProgress }: LoadOptions): Promise<WholeGraph> {
    const { bytes, external } = writeModel(model);
    const total = [...external.values()].reduce(
      (sum, { data }) => sum + ('length' in data ? data.length : 0),
      0,
    );
    const externalData: { path: string; data: Uint8Array }[] = [];
    let done = 0;
    for (const [path, ref] of external) {
      const data = await readTensor(ref, signal);
      externalData.push({ path, data });
      onProgress?.({ stage: 'weights', done: (done += data.byteLength), total });
    }
    const creating = withOrt((ort) =>
      ort.InferenceSession.create(bytes, { externalData, executionProviders: ['wasm'], logSeverityLevel: 3 }),
    );
    try {
      return new WholeGraph(await untilAbort(creating, signal));
    } catch (error) {
      void creating.then(release, () => {});
      if (error instanceof CalotypeError) throw error;
      signal?.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      throw new InvalidModelError(`onnxruntime cannot open it: ${why}`, { file, cause: error });
    }
  }

  /** Runs the model; results lie on the CPU. Cannot be interrupted: an abort only stops the waiting. */
  async run(feeds: Readonly<Tensors>, signal?: AbortSignal): Promise<Tensors> {
    const data = new Map<string, Awaited<ReturnType<Tensors[string]['data']>>>();
    for (const [name, tensor] of Object.entries(feeds)) data.set(name, await tensor.data());
    signal?.throwIfAborted();
    const running = withOrt((ort) =>
      this.#session.run(
        Object.fromEntries(
          Object.entries(feeds).map(([name, { dtype, shape }]) => [
            name,
            toOrt(ort, dtype, shape, data.get(name)!),
          ]),
        ),
      ),
    );
    const results: Tensors = {};
    for (const [name, tensor] of Object.entries(await untilAbort(running, signal))) {
      results[name] = await fromOrt(tensor);
    }
    return results;
  }

  dispose(): void {
    void release(this.#session);
  }
}

function release(session: Ort.InferenceSession): Promise<void> {
  return withOrt(() => session.release()).catch(() => {});
}
