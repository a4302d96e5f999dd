import { operandsOf, type GraphEditor } from '../edit.ts';
import type { Value } from '../graph.ts';

/** Knows which values depend on weights and constants only: those are computed once, at load. */
export class LoadTime {
  readonly #graph: GraphEditor;
  readonly #known = new Map<Value, boolean>();

  constructor(graph: GraphEditor) {
    this.#graph = graph;
  }

  has(value: Value): boolean {
    const stack = [value];
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const producer = this.#graph.producer(top);
      const operands = producer ? operandsOf(producer) : [];
      const missing = operands.filter((operand) => !this.#known.has(operand));
      if (missing.length > 0 && !this.#known.has(top)) {
        stack.push(...missing);
        continue;
      }
      const { kind } = top.origin;
      this.#known.set(
        top,
        kind === 'node' ? operands.every((operand) => this.#known.get(operand)) : kind !== 'input',
      );
      stack.pop();
    }
    return this.#known.get(value)!;
  }
}
