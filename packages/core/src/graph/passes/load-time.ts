import type { GraphEditor } from '../edit.ts';
import { operandsOf } from '../graph.ts';
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
      let known: boolean | undefined = top.origin.kind !== 'input';
      for (const operand of producer ? operandsOf(producer) : []) {
        const own = this.#known.get(operand);
        if (own === undefined) stack.push(operand);
        known = own === undefined ? undefined : known && own;
        if (!known) break;
      }
      if (known === undefined) continue;
      this.#known.set(top, known);
      stack.pop();
    }
    return this.#known.get(value)!;
  }
}
