import type { Lora } from '../lora/index.ts';
import type { TextToImagePipeline } from '../pipelines/text-to-image.ts';
import type { ActingLora, SentLora } from './messages.ts';

/** A LoRA that some client holds or some request runs with. */
interface Held {
  lora: Promise<Lora>;
  holders: number;
}

/** A request that waits until the weights can be changed for it. */
interface Turn {
  key: string;
  begin: () => void;
}

/**
 * The LoRAs of one model that several clients use. There is one set of weights, so the requests that run at a time are
 * those with the same LoRAs at the same scales; one with others waits until they are through, and those that come
 * after it wait behind it.
 */
export class ModelLoras {
  readonly #pipeline: () => Promise<TextToImagePipeline>;
  /** By pipeline: after a loss of the device there is another, without LoRAs. */
  readonly #held = new WeakMap<TextToImagePipeline, Map<string, Held>>();
  /** What the weights are, or are being made to be. */
  #acting: { key: string; pipeline: TextToImagePipeline; made: Promise<void> } | undefined;
  #running = { key: '', requests: 0 };
  readonly #waiting: Turn[] = [];

  /** @param pipeline the model as it is loaded now */
  constructor(pipeline: () => Promise<TextToImagePipeline>) {
    this.#pipeline = pipeline;
  }

  /**
   * Loads a LoRA for a client, without letting it act.
   *
   * @throws what `LoraSet.load` throws
   */
  async hold(sent: SentLora): Promise<{ lora: Lora } & Disposable> {
    const pipeline = await this.#pipeline();
    const { lora, release } = this.#take(pipeline, sent);
    try {
      const loaded = await lora;
      return {
        lora: loaded,
        [Symbol.dispose]: () => {
          release();
          // What fails here is a device that was lost, and the LoRA with it.
          this.#sweep(pipeline).catch(() => {});
        },
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Lets a request run with these LoRAs and no others, until the result is disposed of.
   *
   * @throws what `LoraSet.load` and `LoraSet.setScales` throw, the signal's reason
   */
  async acquire(wanted: readonly ActingLora[], signal: AbortSignal): Promise<Disposable> {
    const acting = wanted.filter(({ scale }) => scale !== 0);
    const key = JSON.stringify(acting.map(({ id, scale }) => [id, scale]));
    await this.#begin(key, signal);
    try {
      const pipeline = await this.#pipeline();
      if (this.#acting?.key !== key || this.#acting.pipeline !== pipeline) {
        this.#acting = { key, pipeline, made: this.#act(pipeline, acting) };
      }
      const mine = this.#acting;
      try {
        await mine.made;
      } catch (error) {
        if (this.#acting === mine) this.#acting = undefined;
        throw error;
      }
      signal.throwIfAborted();
    } catch (error) {
      this.#end();
      throw error;
    }
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (!isOver) this.#end();
        isOver = true;
      },
    };
  }

  async #begin(key: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running.requests === 0 || (this.#running.key === key && this.#waiting.length === 0)) {
      this.#running = { key, requests: this.#running.requests + 1 };
      return;
    }
    await new Promise<void>((begin, reject) => {
      const turn: Turn = {
        key,
        begin: () => {
          signal.removeEventListener('abort', abort);
          begin();
        },
      };
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal.reason as Error);
        this.#next();
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(turn);
    });
  }

  #end(): void {
    this.#running.requests--;
    this.#next();
  }

  /** Lets those at the head of the queue begin that may. */
  #next(): void {
    for (;;) {
      const [turn] = this.#waiting;
      if (!turn || (this.#running.requests > 0 && this.#running.key !== turn.key)) return;
      this.#waiting.shift();
      this.#running = { key: turn.key, requests: this.#running.requests + 1 };
      turn.begin();
    }
  }

  /** Makes these the ones that act. */
  async #act(pipeline: TextToImagePipeline, wanted: readonly ActingLora[]): Promise<void> {
    const set = pipeline.model.loras;
    const taken = wanted.map((sent) => ({ scale: sent.scale, ...this.#take(pipeline, sent) }));
    try {
      const scales = new Map<Lora, number>(set.loras.map((lora) => [lora, 0]));
      // One that is given twice acts twice.
      for (const { lora, scale } of taken) scales.set(await lora, (scales.get(await lora) ?? 0) + scale);
      await set.setScales(scales);
    } finally {
      for (const { release } of taken) release();
    }
    await this.#sweep(pipeline);
  }

  /** Unloads what nobody holds and does not act. What acts stays until the weights are changed for the next request. */
  async #sweep(pipeline: TextToImagePipeline): Promise<void> {
    const all = this.#heldBy(pipeline);
    for (const [id, held] of all) {
      const lora = await held.lora.catch(() => undefined);
      if (!lora || held.holders > 0 || lora.scale !== 0) continue;
      all.delete(id);
      await pipeline.model.loras.unload(lora);
    }
  }

  #heldBy(pipeline: TextToImagePipeline): Map<string, Held> {
    let held = this.#held.get(pipeline);
    if (!held) this.#held.set(pipeline, (held = new Map()));
    return held;
  }

  /** A LoRA of the pipeline's; it is loaded when it is first asked for. */
  #take(pipeline: TextToImagePipeline, sent: SentLora): { lora: Promise<Lora>; release: () => void } {
    const all = this.#heldBy(pipeline);
    let held = all.get(sent.id);
    if (!held) {
      const { source, name, allowUnmatched = false } = sent;
      const lora = pipeline.model.loras.load(source, { scale: 0, allowUnmatched, ...(name && { name }) });
      all.set(sent.id, (held = { lora, holders: 0 }));
      const failed = held;
      // Whoever asks again may have better luck.
      lora.catch(() => all.get(sent.id) === failed && all.delete(sent.id));
    }
    const taken = held;
    taken.holders++;
    let isHeld = true;
    return {
      lora: taken.lora,
      release: () => {
        if (isHeld) taken.holders--;
        isHeld = false;
      },
    };
  }
}
