import type { WholeGraph } from '../fallback/whole-graph.ts';
import { bindInputs } from '../graph/bind.ts';
import type { GraphTemplate } from '../graph/template.ts';
import { storedBytes, type Tensor } from '../tensor/tensor.ts';
import { checkTarget, type Tensors } from './feeds.ts';

/** A whole model on the CPU, with the checks and targets that a session promises. */
export class WholeExecutable {
  readonly #graph: WholeGraph;
  readonly #template: GraphTemplate;

  constructor(graph: WholeGraph, template: GraphTemplate) {
    this.#graph = graph;
    this.#template = template;
  }

  /** @throws ShapeError for inputs and targets that do not fit */
  async run(
    feeds: Readonly<Tensors>,
    options: {
      targets?: Readonly<Tensors> | undefined;
      signal?: AbortSignal | undefined;
      before?: (() => void) | undefined;
      after?: ((results: Tensors) => void) | undefined;
    },
  ): Promise<Tensors> {
    const { targets = {}, signal, before, after } = options;
    const types = Object.entries(feeds).map(([name, { dtype, shape }]) => [name, { dtype, shape }] as const);
    bindInputs(this.#template, new Map(types));
    before?.();
    const results = await this.#graph.run(feeds, signal);
    for (const [name, target] of Object.entries(targets)) {
      const result = results[name];
      if (!result) continue;
      copyInto(name, result, target);
      results[name] = target;
    }
    after?.(results);
    return results;
  }

  dispose(): void {
    this.#graph.dispose();
  }
}

function copyInto(name: string, result: Tensor, target: Tensor): void {
  const { gpu } = target;
  const bytes = gpu ? storedBytes(result, gpu.storage) : new Uint8Array();
  checkTarget(name, target, result, bytes.byteLength);
  gpu!.engine.write(gpu!.buffer, 0, bytes);
  target.markChanged();
}
