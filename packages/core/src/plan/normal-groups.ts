import { OWN_DOMAIN, type Graph, type Value } from '../graph/graph.ts';
import { intAttribute } from '../ops/operands.ts';

/** Values that GroupNorm nodes normalize, with the number of groups. */
export function normalGroupsOf({ nodes }: Graph): ReadonlyMap<Value, number> {
  const groups = new Map<Value, number>();
  for (const node of nodes) {
    const [x] = node.inputs;
    if (node.op === 'GroupNorm' && node.domain === OWN_DOMAIN && x)
      groups.set(x, intAttribute(node, 'groups', 1));
  }
  return groups;
}
