import { OWN_DOMAIN } from '../graph/graph.ts';
import type { Model, ModelNode } from '../onnx/model.ts';
import { microsoftOps } from './contrib.ts';
import { elementwiseOps } from './elementwise.ts';
import { elementwiseOp } from './fused-elementwise.ts';
import { ownAttentionOps } from './attention.ts';
import { convOps } from './conv.ts';
import { matmulOps, ownMatmulOps } from './matmul.ts';
import { gatherOps } from './gather.ts';
import { movementOps } from './movement.ts';
import { normalizationOps, ownNormalizationOps } from './normalization.ts';
import type { OpDefinition, OpTables } from './op.ts';
import { ownQuantizeOps, quantizeLinearOps } from './quantize-linear.ts';
import { reduceOps } from './reduce.ts';
import { resizeOps } from './resize.ts';
import { selectionOps } from './selection.ts';
import { shapeOps } from './shape.ts';
import { softmaxOps } from './softmax.ts';

/** Operators by domain that diffusion models commonly have, and all that these and the passes make. */
const commonTables: OpTables = {
  '': [
    convOps,
    matmulOps,
    elementwiseOps,
    gatherOps,
    quantizeLinearOps,
    movementOps,
    normalizationOps,
    reduceOps,
    resizeOps,
    selectionOps,
    shapeOps,
    softmaxOps,
  ],
  'com.microsoft': microsoftOps,
  [OWN_DOMAIN]: [
    { Elementwise: elementwiseOp },
    ownQuantizeOps,
    ownNormalizationOps,
    ownAttentionOps,
    ownMatmulOps,
  ],
};

const definitions = new Map<string, OpDefinition>();
define(commonTables);

/** Names within a domain are unique. */
function define(tables: OpTables): void {
  for (const [domain, list] of Object.entries(tables)) {
    for (const [op, definition] of list.flatMap((table) => Object.entries(table))) {
      const key = `${domain}:${op}`;
      if (definitions.has(key)) throw new Error(`Internal error: operator '${key}' is defined twice`);
      definitions.set(key, definition);
    }
  }
}

let rare: Promise<void> | undefined;

/** Makes the rare operators known too. Fetches them once; after a failure the next call tries again. */
export function loadRareOperators(): Promise<void> {
  rare ??= import('./rare.ts').then(
    ({ rareTables }) => define(rareTables),
    (error: unknown) => {
      rare = undefined;
      throw error;
    },
  );
  return rare;
}

/** Makes known what a model names, as far as the engine has it. Everything that looks operators up comes later. */
export async function loadOperators(model: Model): Promise<void> {
  if (needsRareOperators(model)) await loadRareOperators();
}

/** Whether a node of the model, of a graph inside it or of a function may be of an operator that is not common. */
export function needsRareOperators({ graph, functions }: Model): boolean {
  const lists = [graph.nodes, ...functions.map(({ nodes }) => nodes)];
  // Grows on the way.
  for (const nodes of lists) {
    for (const node of nodes) {
      if (mayBeRare(node)) return true;
      for (const attribute of node.attributes.values()) {
        if (attribute.type === 'graph') lists.push(attribute.value.nodes);
      }
    }
  }
  return false;
}

/** Handled without a definition. */
const structural = new Set(['Constant', 'If', 'Loop', 'Scan']);

function mayBeRare({ domain, op }: ModelNode): boolean {
  if (domain === '' && structural.has(op)) return false;
  // Functions have domains of their own.
  return Object.hasOwn(commonTables, domain) && !lookup(domain, op);
}

/** What the engine knows of an operator, once `loadOperators` has seen the model; `undefined` when it knows nothing. */
export function lookup(domain: string, op: string): OpDefinition | undefined {
  return definitions.get(`${domain}:${op}`);
}

/** Names of the operators of a domain, of the rare ones once they are loaded. */
export function operatorsOf(domain: string): string[] {
  return [...definitions.keys()]
    .filter((key) => key.startsWith(`${domain}:`))
    .map((key) => key.slice(domain.length + 1));
}
