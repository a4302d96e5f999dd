import type { WeightInfo } from '@calotype/core';

/**
 * The weights of a graph by the names that LoRA files give their modules, which are paths with `_` between the parts.
 * Exporters may put the path of a wrapper before all paths: that prefix is found by which one makes most keys known.
 */
export function weightsByModule(
  weights: readonly WeightInfo[],
  keys: readonly string[],
): ReadonlyMap<string, WeightInfo> {
  let best: { known: number; names: ReadonlyMap<string, WeightInfo> } = { known: -1, names: new Map() };
  for (const depth of [0, 1, 2]) {
    const names = namesOf(weights, depth);
    const known = keys.filter((key) => names.has(key)).length;
    if (known > best.known) best = { known, names };
  }
  return best.names;
}

function namesOf(weights: readonly WeightInfo[], depth: number): Map<string, WeightInfo> {
  const paths = weights.flatMap((weight) =>
    weight.modules.map((module) => ({ weight, path: module.split('.').slice(depth) })),
  );
  const sgm = sgmNames(paths.map(({ path }) => path));
  const names = new Map<string, WeightInfo>();
  for (const { weight, path } of paths) {
    const plain = (path[0] === 'text_model' ? path.slice(1) : path).join('_');
    names.set(plain, weight);
    // Attention processors have one module for what is a list of the projection and a dropout.
    if (plain.endsWith('_to_out_0')) names.set(plain.slice(0, -'_0'.length), weight);
    const other = sgm(path);
    if (other !== undefined) names.set(other, weight);
  }
  return names;
}

const sgmLayers: Readonly<Record<string, string>> = {
  conv1: 'in_layers_2',
  conv2: 'out_layers_3',
  time_emb_proj: 'emb_layers_1',
  conv_shortcut: 'skip_connection',
};

const sgmEnds: Readonly<Record<string, string>> = {
  conv_in: 'input_blocks_0_0',
  conv_out: 'out_2',
  'time_embedding.linear_1': 'time_embed_0',
  'time_embedding.linear_2': 'time_embed_2',
  'add_embedding.linear_1': 'label_emb_0_0',
  'add_embedding.linear_2': 'label_emb_0_2',
};

/**
 * Names of a UNet's modules as Stability's own code has them, which kohya's trainer uses for SDXL: it counts resnets with
 * their attentions through all blocks (`input_blocks.4.1`), where diffusers counts them by block
 * (`down_blocks.1.attentions.0`).
 */
function sgmNames(paths: readonly (readonly string[])[]): (path: readonly string[]) => string | undefined {
  const has = (...start: string[]): boolean =>
    paths.some((path) => start.every((part, i) => path[i] === part));
  let layers = 0;
  while (has('down_blocks', '0', 'resnets', String(layers))) layers++;
  return (path) => {
    const end = sgmEnds[path.join('.')];
    if (end !== undefined) return end;
    const [side, ...inside] = path;
    if (side === 'mid_block') return middle(inside);
    if (side !== 'down_blocks' && side !== 'up_blocks') return undefined;
    const [block, kind, index, ...rest] = inside;
    const first = side === 'down_blocks' ? 1 : 0;
    const at = (layer: number): number => first + Number(block) * (layers + 1) + layer;
    const name = side === 'down_blocks' ? 'input_blocks' : 'output_blocks';
    if (kind === 'downsamplers') return `${name}_${at(layers)}_0_op`;
    if (kind === 'upsamplers') return `${name}_${at(layers)}_${has(side, block!, 'attentions') ? 2 : 1}_conv`;
    return inBlock(`${name}_${at(Number(index))}`, kind, rest);
  };
}

function middle([kind, index, ...rest]: readonly string[]): string | undefined {
  if (kind === 'attentions') return `middle_block_1_${rest.join('_')}`;
  const layer = sgmLayers[rest.join('.')];
  return kind === 'resnets' && layer !== undefined ? `middle_block_${Number(index) * 2}_${layer}` : undefined;
}

function inBlock(block: string, kind: string | undefined, rest: readonly string[]): string | undefined {
  if (kind === 'attentions') return `${block}_1_${rest.join('_')}`;
  const layer = sgmLayers[rest.join('.')];
  return kind === 'resnets' && layer !== undefined ? `${block}_0_${layer}` : undefined;
}
