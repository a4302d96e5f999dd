import type { GraphEditor } from '../edit.ts';

/** One rewrite of the whole graph. Leaves a valid graph after `commit`. */
export interface Pass {
  name: string;
  run(graph: GraphEditor): void;
}
