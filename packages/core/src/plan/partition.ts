import type { Graph, Node, Value } from '../graph/graph.ts';
import { operandsOf } from '../graph/graph.ts';

/** Nodes that another runtime computes together. */
export interface IslandNodes {
  nodes: Node[];
  /** Why each of them has to, in the order of `nodes`. */
  reasons: string[];
}

/** A graph's nodes in an order in which they can run: our own one by one, those of an island together. */
export type Section = { kind: 'node'; node: Node } | { kind: 'island'; island: IslandNodes };

/**
 * Gathers the nodes without kernels into as few islands as the order of the graph allows: everything of ours that can
 * run does so first, then all of theirs that can run by then makes one island, and so on. No other order has fewer
 * changes of side.
 *
 * @param refuse why a node has no kernel; `undefined` where it has one
 */
export function partition(graph: Graph, refuse: (node: Node) => string | undefined): Section[] {
  const sections: Section[] = [];
  const done = new Set<Node>();
  const isReady = (node: Node): boolean => operandsOf(node).every((value) => isKnown(value, done));
  let waiting = graph.nodes.map((node) => ({ node, reason: refuse(node) }));
  while (waiting.length > 0) {
    const before = waiting.length;
    // The graph is in topological order, so one walk reaches everything that one side can do.
    waiting = waiting.filter(({ node, reason }) => {
      if (reason !== undefined || !isReady(node)) return true;
      done.add(node);
      sections.push({ kind: 'node', node });
      return false;
    });
    const island: IslandNodes = { nodes: [], reasons: [] };
    const opsets = new Map<string, number>();
    waiting = waiting.filter(({ node, reason }) => {
      // One file can name only one version of an operator set.
      const fits = (opsets.get(node.domain) ?? node.opset) === node.opset;
      if (reason === undefined || !fits || !isReady(node)) return true;
      opsets.set(node.domain, node.opset);
      done.add(node);
      island.nodes.push(node);
      island.reasons.push(reason);
      return false;
    });
    if (island.nodes.length > 0) sections.push({ kind: 'island', island });
    if (waiting.length === before) throw new Error('Internal error: the graph has a cycle');
  }
  return sections;
}

function isKnown(value: Value, done: ReadonlySet<Node>): boolean {
  return value.origin.kind !== 'node' || done.has(value.origin.node);
}
