import type { CustomKernel } from './custom-kernel.ts';
import type { Engine } from './engine.ts';

/** One dispatch of a kernel, not submitted yet. */
interface Launch {
  kernel: CustomKernel;
  bound: readonly GPUBuffer[];
  /** Where its parameters lie among those of its kernel. */
  slot: number;
  grid: readonly [number, number, number];
}

/** Submits dispatches of custom kernels. A command buffer costs more than a small dispatch in it, so many share one. */
export class Launches {
  readonly #engine: Engine;
  readonly #gathered: Launch[] = [];
  #depth = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Submits everything that is launched inside as one command buffer, in that order; each sees what those before it
   * wrote. What `work` submits by itself runs before all of them.
   */
  together(work: () => void): void {
    this.#depth++;
    try {
      work();
    } finally {
      this.#depth--;
      if (this.#depth === 0) this.#submit();
    }
  }

  /** @internal Used by `CustomKernel.run`. */
  add(launch: Launch): void {
    this.together(() => this.#gathered.push(launch));
  }

  /**
   * @internal What each of these launches, for a command buffer that the caller submits in the same turn: their parameters are
   * uploaded now, and the next launch of the same kernels takes their place.
   */
  gather(...works: ((() => void) | undefined)[]): Launch[][] {
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
    const launches = this.#gathered.splice(0);
    if (launches.length === 0) return;
    upload(launches);
    const { device, clock } = this.#engine;
    const encoder = device.createCommandEncoder({ label: launches[0]!.kernel.name });
    const pass = encoder.beginComputePass(clock?.next());
    encodeLaunches(pass, launches);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }
}

/** Encodes what was gathered. */
export function encodeLaunches(pass: GPUComputePassEncoder, launches: readonly Launch[]): void {
  for (const { kernel, bound, slot, grid } of launches) {
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, kernel.bindGroup(bound, slot));
    pass.dispatchWorkgroups(...grid);
  }
}

function upload(launches: readonly Launch[]): void {
  for (const kernel of new Set(launches.map((launch) => launch.kernel))) kernel.upload();
}
