import type { Pass } from './pass.ts';

/** Removes nodes whose results nobody uses. */
export const dropDead: Pass = { name: 'drop-dead', run: (graph) => graph.dropDead() };
