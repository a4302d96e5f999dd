import type { Graph } from '../graph.ts';
import { GraphEditor } from '../edit.ts';
import { canonicalize } from './canonicalize.ts';
import { commonSubexpressions } from './common-subexpressions.ts';
import { dropDead } from './drop-dead.ts';
import { fuseAttention } from './fuse-attention.ts';
import { fuseElementwise } from './fuse-elementwise.ts';
import { fuseEpilogues } from './fuse-epilogues.ts';
import { fuseGated } from './fuse-gated.ts';
import { fuseGroupNorm } from './fuse-group-norm.ts';
import { fuseLayerNorm } from './fuse-layer-norm.ts';
import { fuseUpsample } from './fuse-upsample.ts';
import { hoistElementwise } from './hoist-elementwise.ts';
import { mergeParallelProducts } from './merge-parallel-products.ts';
import type { Pass } from './pass.ts';
import { toElementwise } from './to-elementwise.ts';

/** All rewrites in their order. Patterns over ONNX's operators come before `toElementwise`, which ends those. */
export const passes: readonly Pass[] = [
  dropDead,
  canonicalize,
  commonSubexpressions,
  fuseGroupNorm,
  fuseLayerNorm,
  fuseAttention,
  dropDead,
  canonicalize,
  toElementwise,
  fuseElementwise,
  fuseGated,
  mergeParallelProducts,
  hoistElementwise,
  fuseElementwise,
  fuseEpilogues,
  fuseUpsample,
  canonicalize,
];

/**
 * Fuses a specialized graph, in place.
 *
 * @param check called after each pass; tests give `verify`
 */
export function optimise(graph: Graph, check?: (graph: Graph, pass: string) => void): Graph {
  const editor = new GraphEditor(graph);
  for (const pass of passes) {
    pass.run(editor);
    editor.commit();
    check?.(graph, pass.name);
  }
  return graph;
}
