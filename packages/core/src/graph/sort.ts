import { InvalidModelError } from '../errors.ts';
import type { Block, TemplateNode } from './template.ts';

/**
 * Sorts a block and its inner blocks topologically, keeping the file's order where it is one.
 *
 * @param isOuter whether a name is defined around the block: a graph input, a value of the enclosing block
 * @throws InvalidModelError for a cycle, a name that nothing defines or two things define
 */
export function sortBlock(block: Block, isOuter: (name: string) => boolean, file: string): void {
  const fail = (message: string): never => {
    throw new InvalidModelError(message, { file });
  };
  const producers = new Map<string, TemplateNode>();
  for (const node of block.nodes) {
    if (node.outputs.length === 0) fail(`node '${node.name}' (${node.op}) has no outputs`);
    for (const name of node.outputs) {
      if (name === '') continue;
      if (producers.has(name) || block.weights.has(name)) fail(`'${name}' is defined twice`);
      producers.set(name, node);
    }
  }
  const params = new Set(block.params);
  const isVisible = (name: string): boolean =>
    block.weights.has(name) || producers.has(name) || params.has(name) || isOuter(name);
  const reads = new Map<TemplateNode, string[]>();
  for (const node of block.nodes) {
    const names = node.inputs.filter((name) => name !== '');
    for (const inner of node.blocks.values()) {
      // A name that a branch defines and the block around it too means the branch's own.
      sortBlock(inner, isVisible, file);
      names.push(...freeNames(inner));
    }
    for (const name of names) {
      if (!isVisible(name)) fail(`'${name}', input of node '${node.name}' (${node.op}), is defined nowhere`);
    }
    reads.set(node, names);
  }
  for (const name of block.results) if (!isVisible(name)) fail(`output '${name}' is defined nowhere`);

  const sorted: TemplateNode[] = [];
  const state = new Map<TemplateNode, 'open' | 'done'>();
  for (const root of block.nodes) {
    // A stack of our own: chains in real graphs are deeper than the call stack allows.
    const stack = state.has(root) ? [] : [{ node: root, next: 0 }];
    if (stack.length > 0) state.set(root, 'open');
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const name = reads.get(top.node)![top.next++];
      if (name === undefined) {
        state.set(top.node, 'done');
        sorted.push(top.node);
        stack.pop();
        continue;
      }
      const producer = producers.get(name);
      if (!producer || state.get(producer) === 'done') continue;
      if (state.get(producer) === 'open') {
        const cycle = stack
          .slice(stack.findIndex(({ node }) => node === producer))
          .map(({ node }) => `'${node.name}'`);
        const shown = cycle.length > 5 ? [...cycle.slice(0, 5), '…'] : cycle;
        fail(`the graph has a cycle: ${[...shown, cycle[0]].join(' → ')}`);
      }
      state.set(producer, 'open');
      stack.push({ node: producer, next: 0 });
    }
  }
  block.nodes = sorted;
}

/** Names that a block takes from around it. */
function freeNames(block: Block): string[] {
  const own = new Set([...block.weights.keys(), ...block.params]);
  for (const node of block.nodes) for (const name of node.outputs) own.add(name);
  const used = new Set(block.results);
  for (const node of block.nodes) {
    for (const name of node.inputs) if (name !== '') used.add(name);
    for (const inner of node.blocks.values()) for (const name of freeNames(inner)) used.add(name);
  }
  return [...used].filter((name) => !own.has(name));
}
