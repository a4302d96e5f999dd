import { createSession, type Engine, Tensor, type Session } from '@calotype/core';
import { writeSafetensors, type SafeTensor } from '@calotype/dev/safetensors';
import * as ort from 'onnxruntime-web/wasm';
import { beforeAll, describe, expect, test } from 'vitest';
import { pageEngine } from '../../../core/test/engine.ts';
import { linearsOf, merge, randoms, type Linear } from '../../test/merged-model.ts';
import { relativeL2 } from '../../test/numbers.ts';
import { LoraError } from '../errors.ts';
import type { LoraComponent } from './keys.ts';
import { LoraSet } from './lora-set.ts';

ort.env.wasm.numThreads = 1;

let engine: Engine;
let unet: Uint8Array<ArrayBuffer>;
let linears: Map<string, Linear>;

beforeAll(async () => {
  engine = await pageEngine();
  const response = await fetch('/fixtures/tiny-sd/unet/model.onnx');
  unet = new Uint8Array(await response.arrayBuffer());
  linears = new Map((await linearsOf(unet)).map((linear) => [linear.module, linear]));
});
const attention = 'down_blocks.0.attentions.0.transformer_blocks.0';

/** Modules of every form: products, Gemm, convolutions of both sizes, what the planner merges and packs. */
const modules = [
  `${attention}.attn1.to_q`,
  `${attention}.attn1.to_k`,
  `${attention}.attn1.to_out.0`,
  `${attention}.attn2.to_v`,
  `${attention}.ff.net.0.proj`,
  `${attention}.ff.net.2`,
  'down_blocks.0.attentions.0.proj_in',
  'down_blocks.1.resnets.0.time_emb_proj',
  'down_blocks.0.downsamplers.0.conv',
  'mid_block.resnets.1.conv1',
  'mid_block.attentions.0.transformer_blocks.0.attn2.to_k',
  'up_blocks.0.upsamplers.0.conv',
  'up_blocks.1.resnets.0.conv_shortcut',
  'conv_in',
];

type Change = (out: number, input: number, tap: number) => number;

interface Factors {
  linear: Linear;
  rank: number;
  down: Float32Array<ArrayBuffer>;
  up: Float32Array<ArrayBuffer>;
  /** LoCon's core; `down` is [rank, ins] then. */
  mid?: Float32Array<ArrayBuffer>;
  alpha?: number;
}

function factorsOf(module: string, seed: number, options: { mid?: boolean; alpha?: boolean } = {}): Factors {
  const linear = linears.get(module)!;
  const rank = 2 + (seed % 3);
  const taps = linear.kernel.reduce((size, dim) => size * dim, 1);
  const mid = (options.mid ?? false) && taps > 1;
  return {
    linear,
    rank,
    down: randoms(seed, rank * linear.ins * (mid ? 1 : taps)),
    up: randoms(seed + 100, linear.outs * rank).map((value) => value / 8),
    ...(mid && { mid: randoms(seed + 200, rank * rank * taps) }),
    ...(options.alpha && { alpha: 0.5 + (seed % 4) }),
  };
}

/** What the factors amount to, in doubles. */
function changeOf({ linear, rank, down, up, mid, alpha = rank }: Factors, scale: number): Change {
  const { ins } = linear;
  const taps = linear.kernel.reduce((size, dim) => size * dim, 1);
  return (o, i, tap) => {
    let sum = 0;
    for (let p = 0; p < rank; p++) {
      let inner = 0;
      if (mid) {
        for (let q = 0; q < rank; q++) inner += mid[(p * rank + q) * taps + tap]! * down[q * ins + i]!;
      } else inner = down[(p * ins + i) * taps + tap]!;
      sum += up[o * rank + p]! * inner;
    }
    return (scale * alpha * sum) / rank;
  };
}

const f32 = (shape: number[], data: Float32Array<ArrayBuffer>): SafeTensor => ({
  dtype: 'F32',
  shape,
  data: new Uint8Array(data.buffer),
});

type Style = (module: string) => { down: string; up: string; mid?: string; alpha?: string };

const kohya: Style = (module) => {
  const key = `lora_unet_${module.replaceAll('.', '_')}`;
  return {
    down: `${key}.lora_down.weight`,
    up: `${key}.lora_up.weight`,
    mid: `${key}.lora_mid.weight`,
    alpha: `${key}.alpha`,
  };
};
const peft: Style = (module) => ({
  down: `unet.${module}.lora_A.weight`,
  up: `unet.${module}.lora_B.weight`,
});
const processors: Style = (module) => {
  const key = /^(.*attn\d)\.(to_\w+)(?:\.0)?$/.exec(module);
  return key
    ? {
        down: `${key[1]}.processor.${key[2]}_lora.down.weight`,
        up: `${key[1]}.processor.${key[2]}_lora.up.weight`,
      }
    : { down: `${module}.lora.down.weight`, up: `${module}.lora.up.weight` };
};

function file(all: readonly Factors[], style: Style): Uint8Array<ArrayBuffer> {
  const tensors = all.flatMap(({ linear, rank, down, up, mid, alpha }): [string, SafeTensor][] => {
    const keys = style(linear.module);
    const window = mid ? linear.kernel.map(() => 1) : linear.kernel;
    const ones = linear.kernel.map(() => 1);
    return [
      [keys.down, f32([rank, linear.ins, ...window], down)],
      [keys.up, f32([linear.outs, rank, ...ones], up)],
      ...(mid ? [[keys.mid!, f32([rank, rank, ...linear.kernel], mid)] as [string, SafeTensor]] : []),
      ...(alpha === undefined
        ? []
        : [[keys.alpha!, f32([], Float32Array.of(alpha))] as [string, SafeTensor]]),
    ];
  });
  return new Uint8Array(writeSafetensors(tensors));
}

const inputs = {
  sample: { shape: [1, 4, 8, 8], data: randoms(1, 256) },
  encoder_hidden_states: { shape: [1, 77, 32], data: randoms(2, 77 * 32) },
};

async function ours(session: Session): Promise<Float32Array> {
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, new Tensor('float32', shape, data)]),
  );
  const timestep = session.inputs.find(({ name }) => name === 'timestep')!;
  const t = Tensor.from(
    timestep.dtype === 'int64' ? 'int64' : 'float32',
    timestep.shape!.map(() => 1),
    [500],
  );
  const [output] = Object.values(await session.run({ ...feeds, timestep: t }));
  const data = (await output!.data()) as Float32Array;
  output!.dispose();
  return data;
}

async function onnxruntime(model: Uint8Array, session: Session): Promise<Float32Array> {
  const reference = await ort.InferenceSession.create(model, {
    executionProviders: ['wasm'],
    logSeverityLevel: 3,
  });
  try {
    const timestep = session.inputs.find(({ name }) => name === 'timestep')!;
    const dims = timestep.shape!.map(() => 1);
    const results = await reference.run({
      ...Object.fromEntries(
        Object.entries(inputs).map(([name, { shape, data }]) => [
          name,
          new ort.Tensor('float32', data, shape),
        ]),
      ),
      timestep:
        timestep.dtype === 'int64'
          ? new ort.Tensor('int64', BigInt64Array.of(500n), dims)
          : new ort.Tensor('float32', Float32Array.of(500), dims),
    });
    return Object.values(results)[0]!.data as Float32Array;
  } finally {
    await reference.release();
  }
}

const setOf = (session: Session): LoraSet =>
  new LoraSet(new Map<LoraComponent, Session>([['denoiser', session]]));
const open = (): Promise<Session> =>
  createSession(unet, { engine, precision: 'f32', stableInputs: ['encoder_hidden_states'] });

describe('a UNet with LoRAs gives what onnxruntime gives for merged weights', () => {
  const styles: [name: string, style: Style, options: { mid?: boolean; alpha?: boolean }][] = [
    ['kohya, with alphas and LoCon cores', kohya, { mid: true, alpha: true }],
    ['PEFT', peft, {}],
    ['attention processors', processors, {}],
  ];
  test.each(styles)('%s', async (_, style, options) => {
    using session = await open();
    const loras = setOf(session);
    const before = await ours(session);
    const factors = modules.map((module, i) => factorsOf(module, i, options));
    const lora = await loras.load(file(factors, style), { scale: 0.75 });
    expect(lora.layers).toEqual({ denoiser: modules.length });
    const merged = merge(
      unet,
      factors.map((own) => ({ linear: own.linear, change: changeOf(own, 0.75) })),
    );
    const expected = await onnxruntime(merged, session);
    expect(relativeL2(expected, before)).toBeGreaterThan(0.05);
    expect(relativeL2(await ours(session), expected)).toBeLessThan(1e-4);
    await loras.unload(lora);
    expect(await ours(session)).toEqual(before);
  });

  test('several at once, their scales changed between runs, in any order of unloading', async () => {
    using session = await open();
    const loras = setOf(session);
    const before = await ours(session);
    const memory = engine.buffers.liveBytes;
    const all = [
      modules.slice(0, 9).map((module, i) => factorsOf(module, i)),
      modules.slice(4).map((module, i) => factorsOf(module, i + 40)),
    ];
    const first = await loras.load(file(all[0]!, kohya), { name: 'first' });
    const second = await loras.load(file(all[1]!, peft), { name: 'second', scale: -0.5 });
    expect(loras.loras.map(({ name, scale }) => [name, scale])).toEqual([
      ['first', 1],
      ['second', -0.5],
    ]);
    const compare = async (...scales: number[]): Promise<void> => {
      const changes = all.flatMap((factors, i) =>
        factors.map((own) => ({ linear: own.linear, change: changeOf(own, scales[i]!) })),
      );
      const expected = await onnxruntime(merge(unet, changes), session);
      expect(relativeL2(await ours(session), expected)).toBeLessThan(1e-4);
    };
    await compare(1, -0.5);
    await loras.setScale(second, 1.25);
    await compare(1, 1.25);
    await loras.unload(first);
    await compare(0, 1.25);
    expect(engine.buffers.liveBytes).toBe(memory);
    await loras.unload(second);
    expect(await ours(session)).toEqual(before);
    await expect(loras.setScale(second, 1)).rejects.toThrow('not loaded');
  });
});

describe('what does not fit', () => {
  test('a LoRA for another model lists what this one does not have', async () => {
    using session = await open();
    const loras = setOf(session);
    const before = await ours(session);
    const fitting = factorsOf(modules[0]!, 1);
    const elsewhere = {
      ...factorsOf(modules[1]!, 2),
      linear: { ...linears.get(modules[1]!)!, module: 'down_blocks.7.x' },
    };
    const wide = factorsOf('mid_block.resnets.1.conv1', 3);
    const other = {
      ...wide,
      linear: { ...wide.linear, ins: wide.linear.ins * 2 },
      down: randoms(1, wide.down.length * 2),
    };
    const bytes = file([fitting, elsewhere, other], kohya);
    const refused = loras.load(bytes);
    await expect(refused).rejects.toThrow(LoraError);
    await expect(refused).rejects.toMatchObject({
      unmatched: [
        'denoiser: down_blocks_7_x (no such module)',
        'denoiser: mid_block_resnets_1_conv1 (128 → 64, 3×3 window in the file, 64 → 64, 3×3 window in the model)',
      ],
    });
    expect(loras.loras).toEqual([]);
    expect(await ours(session)).toEqual(before);
    const lora = await loras.load(bytes, { allowUnmatched: true });
    expect(lora.skipped).toHaveLength(2);
    expect(lora.layers).toEqual({ denoiser: 1 });
    await expect(loras.load(file([elsewhere], kohya), { allowUnmatched: true })).rejects.toThrow(
      'another kind',
    );
  });

  test('what is no LoRA says so', async () => {
    using session = await open();
    const loras = setOf(session);
    const named = (name: string): Uint8Array<ArrayBuffer> =>
      new Uint8Array(writeSafetensors([[name, f32([1, 1], Float32Array.of(1))]]));
    await expect(loras.load(named('lora_unet_conv_in.dora_scale'))).rejects.toThrow('DoRA');
    await expect(loras.load(named('lora_unet_conv_in.hada_w1_a'))).rejects.toThrow('LoHa');
    await expect(loras.load(named('lora_unet_conv_in.lora_down.weight'))).rejects.toThrow('incomplete');
    await expect(loras.load(named('conv_in.weight'))).rejects.toThrow('no tensor of a LoRA');
    await expect(loras.load(Uint8Array.of(1, 2, 3))).rejects.toThrow('no safetensors');
    await expect(loras.load(file([factorsOf('conv_in', 1)], kohya), { scale: NaN })).rejects.toThrow(
      'finite',
    );
    await expect(loras.load('/fixtures/nothing.safetensors')).rejects.toThrow('HTTP 404');
  });

  test('an aborted load leaves the model as it was', async () => {
    using session = await open();
    const loras = setOf(session);
    const before = await ours(session);
    const controller = new AbortController();
    const loading = loras.load(
      file(
        modules.map((module, i) => factorsOf(module, i)),
        kohya,
      ),
      {
        signal: controller.signal,
        onProgress: () => controller.abort(new Error('enough')),
      },
    );
    await expect(loading).rejects.toThrow('enough');
    expect(loras.loras).toEqual([]);
    expect(await ours(session)).toEqual(before);
  });
});
