import { describe, expect, test } from 'vitest';
import { printExpr } from '../src/graph/expr.ts';
import type { Graph, Node } from '../src/graph/graph.ts';
import { planGraph } from '../src/plan/plan-graph.ts';
import type { Phase, Plan, Step } from '../src/plan/plan.ts';
import { browsers } from './browsers.ts';
import { fullSizeGraph } from './whole-graphs.ts';

// True-size graphs as exporters write them: every block must reach the fused operators, and a step must not come to
// need more dispatches than recorded here.

/** @param matrices as a large card offers them under experimental flags */
function planOf(graph: Graph, matrices = false): Plan {
  const browser = browsers[matrices ? 'experimental' : 'f16'];
  return planGraph(graph, { ...browser, stableInputs: new Set(['encoder_hidden_states']) });
}

const dispatches = (plan: Plan, phase: Phase): number =>
  plan.steps.filter((step) => step.phase === phase).length;

/** Without the second dispatch of what a kernel splits in two to fill a large device, which is the kernel's choice. */
function operations(plan: Plan): number {
  const isSecond = (step: Step): boolean =>
    step.kind === 'dispatch' && /_(reduce|apply|output)$/.test(step.kernel.name);
  return plan.steps.filter((step) => step.phase === 'run' && !isSecond(step)).length;
}

/** How often each operator occurs, with the functions of its epilogue in alphabetical order. */
function histogram(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { op, epilogue } of graph.nodes) {
    const functions = epilogue
      ? printExpr(epilogue.expr)
          .match(/[a-zA-Z]+(?=\()/g)!
          .sort()
      : [];
    const key = [op, ...functions].join(' ');
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

const named = (graph: Graph, op: string, pattern: RegExp): Node[] =>
  graph.nodes.filter((node) => node.op === op && pattern.test(node.name));

/** Operands of a node's epilogue, or -1 without one. */
const finished = ({ epilogue }: Node): number => epilogue?.inputs.length ?? -1;

interface Network {
  file: string;
  /** Resnet blocks, spatial transformers, transformer blocks in them. */
  resnets: number;
  transformers: number;
  blocks: number;
  /** Concatenations that are read where their parts lie; and those that are copied, since six embeddings become one. */
  joins: { read: number; copied: number };
  /** Most operations on the GPU in one step at batch 1 and 64 × 64 latents. */
  step: number;
  /** Most of these on subgroup matrices: dispatches of a step, MiB of buffers, and buffers that no weights are in. */
  matrices: { dispatches: number; mebibytes: number; buffers: number };
}

const networks: Record<string, Network> = {
  'SD 1.5': {
    file: 'sd15-unet-fp16',
    resnets: 22,
    transformers: 16,
    blocks: 16,
    joins: { read: 13, copied: 0 },
    step: 357,
    matrices: { dispatches: 434, mebibytes: 1708, buffers: 21 },
  },
  'SD-Turbo': {
    file: 'sdturbo-unet-fp16',
    resnets: 22,
    transformers: 16,
    blocks: 16,
    joins: { read: 13, copied: 0 },
    step: 357,
    matrices: { dispatches: 434, mebibytes: 1721, buffers: 21 },
  },
  SDXL: {
    file: 'sdxl-unet-fp16',
    resnets: 17,
    transformers: 11,
    blocks: 70,
    joins: { read: 11, copied: 1 },
    step: 919,
    matrices: { dispatches: 1198, mebibytes: 4986, buffers: 38 },
  },
};

describe.each(Object.entries(networks))('%s', (name, network) => {
  const { file, resnets, transformers, blocks, joins, step } = network;
  const graph = fullSizeGraph(file);

  test('nothing is left of what the exporter spelled out', async () => {
    const counts = histogram(await graph);
    for (const op of [
      'Softmax',
      'InstanceNormalization',
      'Erf',
      'Sigmoid',
      'Cast',
      'Identity',
      'Resize',
      'Pow',
      'Div',
    ]) {
      expect(counts).not.toHaveProperty(op);
    }
    // Sine and cosine of the time steps.
    const elementwise = (await graph).nodes.filter(({ op }) => op === 'Elementwise');
    for (const node of elementwise) expect(node.name).toMatch(/time_proj/);
  });

  test('attention fires twice in every transformer block', async () => {
    const found = named(await graph, 'Attention', /attn[12]\//);
    const where = found.map((node) => /^(.*\/transformer_blocks\.\d+)\/attn[12]\//.exec(node.name)![1]);
    expect(found).toHaveLength(2 * blocks);
    expect(new Set(where).size).toBe(blocks);
  });

  test('GEGLU fires in every transformer block, and its second product takes bias and residual', async () => {
    const gated = (await graph).nodes.filter(({ op }) => op === 'GatedMatMul');
    expect(gated).toHaveLength(blocks);
    for (const node of gated) {
      expect(node.attributes.get('activation')).toEqual({ type: 'string', value: 'gelu' });
      expect(node.inputs).toHaveLength(3);
    }
    const second = named(await graph, 'MatMul', /ff\/net\.2\//);
    expect(second.map(finished)).toEqual(new Array(blocks).fill(2));
  });

  test('projections of attention take bias and residual', async () => {
    const projections = named(await graph, 'MatMul', /attn[12]\/to_out/);
    expect(projections.map(finished)).toEqual(new Array(2 * blocks).fill(2));
  });

  test('queries, keys and values are one product in self-attention', async () => {
    const joint = (await graph).nodes.filter((node) => node.op === 'Split' && /attn1\//.test(node.name));
    expect(joint).toHaveLength(blocks);
  });

  test('GroupNorm fires everywhere, with SiLU in every resnet', async () => {
    const norms = (await graph).nodes.filter(({ op }) => op === 'GroupNorm');
    expect(norms).toHaveLength(2 * resnets + transformers + 1);
    const activated = norms.filter(({ epilogue }) => epilogue && printExpr(epilogue.expr) === 'silu(x0)');
    expect(activated.filter((node) => /resnets\.\d+\/norm[12]\//.test(node.name))).toHaveLength(2 * resnets);
    expect(activated).toHaveLength(2 * resnets + 1);
  });

  test('convolutions take time embedding and residual in every resnet', async () => {
    const first = named(await graph, 'Conv', /resnets\.\d+\/conv1\//);
    expect(first.map(finished)).toEqual(new Array(resnets).fill(1));
    const last = named(await graph, 'Conv', /resnets\.\d+\/conv(2|_shortcut)\//);
    const takers = last.filter((node) => finished(node) === 1);
    expect(takers).toHaveLength(resnets);
  });

  test('every transformer ends in a residual that is no dispatch', async () => {
    const ends = (await graph).nodes.filter((node) => /\/proj_out\//.test(node.name) && node.epilogue);
    expect(ends).toHaveLength(transformers);
  });

  test('upsampling is done by the convolution after it', async () => {
    const upsamplers = named(await graph, 'Conv', /upsamplers\.0\/conv\//);
    expect(upsamplers.length).toBeGreaterThan(1);
    for (const node of upsamplers) expect(node.attributes.get('upsample')).toEqual({ type: 'int', value: 2 });
  });

  test('skips are read where they lie', async () => {
    const found = planOf(await graph).joins;
    const copied = found.filter((join) => join.copied !== undefined);
    expect({ read: found.length - copied.length, copied: copied.length }).toEqual(joins);
    expect(copied.filter((join) => /up_blocks/.test(join.name))).toEqual([]);
  });

  test(`a step needs at most ${step} operations on the GPU`, async () => {
    const plan = planOf(await graph);
    const phases = ['run', 'request', 'load'] as const;
    const [run, request, load] = phases.map((phase) => dispatches(plan, phase));
    console.info(
      `${name}: ${run} dispatches for ${operations(plan)} operations a step, ${request} a prompt, ${load} at load`,
    );
    expect(operations(plan)).toBeLessThanOrEqual(step);
  });

  test('dispatches, memory and buffers on subgroup matrices do not grow', async () => {
    const plan = planOf(await graph, true);
    const { dispatches: most, mebibytes, buffers } = network.matrices;
    const computed = plan.buffers.filter(
      ({ content, phase }) => content.kind === 'computed' && phase !== 'load',
    );
    const found = {
      dispatches: dispatches(plan, 'run'),
      mebibytes: Math.ceil((plan.weightBytes + plan.intermediateBytes) / 2 ** 20),
      buffers: computed.length,
    };
    console.info(`${name} on subgroup matrices:`, found);
    expect(found.dispatches).toBeLessThanOrEqual(most);
    expect(found.mebibytes).toBeLessThanOrEqual(mebibytes);
    expect(found.buffers).toBeLessThanOrEqual(buffers);
  });
});

test('norms of large images take their statistics from the convolutions before them', async () => {
  const { steps } = planOf(await fullSizeGraph('sd-vae-decoder-fp16'), true);
  const count = (name: RegExp): number =>
    steps.filter((step) => step.kind === 'dispatch' && name.test(step.kernel.name)).length;
  expect(steps.filter(({ phase }) => phase === 'run')).toHaveLength(90);
  expect([/_moments$/, /^group_norm_merge$/, /^group_norm_statistics$/].map(count)).toEqual([8, 8, 11]);
});

describe('two dialects of the same model reach the same operators', () => {
  const counted = async (file: string): Promise<Record<string, number>> => {
    const counts = histogram(await fullSizeGraph(file));
    // Views, and whether an embedding was looked up by one operator or two, may differ.
    for (const op of ['Reshape', 'Transpose', 'Concat', 'Split']) delete counts[op];
    return counts;
  };

  test('CLIP', async () => {
    const plain = await counted('clip-l-text-encoder-fp16');
    expect(plain).toMatchInlineSnapshot(`
      {
        "ArgMax": 1,
        "Attention": 12,
        "Elementwise": 2,
        "Gather": 3,
        "LayerNormalization": 25,
        "MatMul add": 12,
        "MatMul add add": 24,
        "MatMul add quickGelu": 12,
      }
    `);
    expect(await counted('clip-l-fp16-ortopt')).toEqual(plain);
  });

  test('the VAE decoder', async () => {
    const plain = await counted('sd-vae-decoder-fp16');
    expect(plain).toMatchInlineSnapshot(`
      {
        "Attention": 1,
        "Conv": 22,
        "Conv add": 14,
        "GroupNorm": 1,
        "GroupNorm silu": 29,
        "MatMul add": 1,
        "MatMul add add": 1,
      }
    `);
    expect(await counted('sd-vae-decoder-fp16-ortopt')).toEqual(plain);
  });
});
