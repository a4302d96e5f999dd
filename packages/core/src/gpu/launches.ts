import type { CustomKernel } from './custom-kernel.ts';
import type { Engine } from './engine.ts';

/** Bytes to be copied from one buffer to another, not submitted yet. */
interface Copy {
  kind: 'copy';
  from: GPUBuffer;
  first: number;
  to: GPUBuffer;
  at: number;
  bytes: number;
}

/** One dispatch of a kernel, not submitted yet. */
interface Launch {
  kind: 'launch';
  kernel: CustomKernel;
  bound: readonly GPUBuffer[];
  /** Where its parameters lie among those of its kernel. */
  slot: number;
  grid: readonly [number, number, number];
}

/** Submits dispatches of custom kernels and copies. A command buffer costs more than a small dispatch in it, so many share one. */
export class Launches {
  readonly #engine: Engine;
  readonly #gathered: (Launch | Copy)[] = [];
  #depth = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Submits everything that is launched and copied inside as one command buffer, in that order; each sees what those before it
   * wrote. What `work` submits by itself runs before all of them.
   */
  together<T>(work: () => T): T {
    this.#depth++;
    try {
      return work();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#submit();
    }
  }

  /**
   * Copies bytes of one buffer to another; inside `together` it goes with the others there. Offsets and length are multiples
   * of 4.
   */
  copy(from: GPUBuffer, first: number, to: GPUBuffer, at: number, bytes: number): void {
    this.together(() => this.#gathered.push({ kind: 'copy', from, first, to, at, bytes }));
  }

  /** @internal Used by `CustomKernel.run`. */
  launch(launch: Omit<Launch, 'kind'>): void {
    this.together(() => this.#gathered.push({ kind: 'launch', ...launch }));
  }

  /**
   * @internal What each of these launches, for a command buffer that the caller submits in the same turn: their parameters are
   * uploaded now, and the next launch of the same kernels takes their place.
   */
  gather(...works: ((() => void) | undefined)[]): Gathered[] {
    this.#depth++;
    try {
      const gathered = works.map((work) => {
        work?.();
        return this.#gathered.splice(0);
      });
      upload(gathered.flat());
      return gathered;
    } finally {
      this.#depth--;
      // Of what failed half way nothing goes.
      this.#gathered.length = 0;
    }
  }

  #submit(): void {
    const gathered = this.#gathered.splice(0);
    const [first] = gathered;
    if (!first) return;
    upload(gathered);
    const commands = new CommandBuffer(this.#engine, first.kind === 'copy' ? 'copy' : first.kernel.name);
    commands.add(gathered);
    commands.submit();
  }
}

export type Gathered = readonly (Launch | Copy)[];

/** A command buffer that is being made. */
export class CommandBuffer {
  readonly #engine: Engine;
  readonly #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | undefined;

  constructor(engine: Engine, label: string) {
    this.#engine = engine;
    this.#encoder = engine.device.createCommandEncoder({ label });
  }

  /** For dispatches; those that follow each other share one. */
  get pass(): GPUComputePassEncoder {
    return (this.#pass ??= this.#encoder.beginComputePass(this.#engine.clock?.next()));
  }

  add(gathered: Gathered): void {
    for (const item of gathered) {
      if (item.kind === 'copy') {
        this.#endPass();
        this.#encoder.copyBufferToBuffer(item.from, item.first, item.to, item.at, item.bytes);
        continue;
      }
      const { kernel, bound, slot, grid } = item;
      this.pass.setPipeline(kernel.pipeline);
      kernel.bind(this.pass, bound, slot);
      this.pass.dispatchWorkgroups(...grid);
    }
  }

  submit(): void {
    this.#endPass();
    this.#engine.device.queue.submit([this.#encoder.finish()]);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}

function upload(gathered: Gathered): void {
  const kernels = new Set(gathered.flatMap((item) => (item.kind === 'launch' ? [item.kernel] : [])));
  for (const kernel of kernels) kernel.upload();
}
