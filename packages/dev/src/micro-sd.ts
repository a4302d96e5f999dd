import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { float32, int64, model, type NodeSpec, type TensorSpec } from '../../core/test/onnx-writer.ts';
import { hashFill } from './hash-fill.ts';

/** Files of tiny-sd that this model has too. */
const shared = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'tokenizer/tokenizer.json',
  'tokenizer/tokenizer_config.json',
  'text_encoder/config.json',
  'unet/config.json',
  'vae_decoder/config.json',
];

/** Entries of tiny-sd's vocabulary. */
const VOCABULARY = 1002;
/** Channels of latents. */
const CHANNELS = 4;
/** Of embeddings, and of the rows that the UNet makes of latents. */
const WIDTH = 64;

/**
 * Writes a Stable Diffusion model that takes next to no time: a handful of kernels to compile, where tiny-sd has sixty. It
 * is for tests of what goes on around a model (queues, batches, workers, lost devices), whose pictures only have to differ
 * where anything about a request differs: prompt, seed, guidance, sampler, step. Processes may do so at the same time.
 *
 * @param folder to write to
 * @param tinySd folder of tiny-sd
 * @param blocks how often the UNet goes through its linear layers: steps that take their time, with no kernel or weight more
 */
export async function writeMicroSd(folder: string, tinySd: string, blocks = 1): Promise<void> {
  const copies = shared.map(async (path) => [path, await readFile(join(tinySd, path))] as const);
  const graphs = Object.entries({
    text_encoder: textEncoder(),
    unet: unet(blocks),
    vae_decoder: decoder(),
    vae_encoder: encoder(),
  });
  const files = [
    ...(await Promise.all(copies)),
    ...graphs.map(([component, graph]) => [`${component}/model.onnx`, graph] as const),
  ];
  for (const [path, bytes] of files) {
    const file = join(folder, path);
    // Left alone where nothing has changed: another process may be reading it.
    const before = await readFile(file).catch(() => undefined);
    if (before?.equals(bytes)) continue;
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.${process.pid}`, bytes);
    await rename(`${file}.${process.pid}`, file);
  }
}

/** A row of a table for each token. */
function textEncoder(): Uint8Array<ArrayBuffer> {
  return model({
    inputs: [{ name: 'input_ids', dtype: 'int64', shape: ['batch', 'tokens'] }],
    outputs: [{ name: 'last_hidden_state', dtype: 'float32', shape: ['batch', 'tokens', WIDTH] }],
    initializers: { table: weights('table', [VOCABULARY, WIDTH], 2) },
    nodes: [node('Gather', ['table', 'input_ids'], 'last_hidden_state')],
  });
}

/** Linear layers of a block of the UNet. */
const linear = ['to_q', 'to_k', 'to_v', 'to_out.0'];

/**
 * Says that the noise is the sample, give or take something of the prompt, of the time and of linear layers, which are named
 * like those of attention blocks, and of which each is the same kernel again. Rows are latents as they lie in memory.
 */
function unet(blocks: number): Uint8Array<ArrayBuffer> {
  const layers = Array.from({ length: blocks * linear.length }, (_, i) => {
    const layer = linear[i % linear.length]!;
    const block = Math.floor(i / linear.length);
    return [
      {
        ...node('MatMul', [`h${i}`, layer], `y${i}`),
        name: `/down_blocks.0/attentions.0/transformer_blocks.${block}/attn1/${layer}/MatMul`,
      },
      node('Tanh', [`y${i}`], `tanh${i}`),
      node('Mul', [`tanh${i}`, 'tenth'], `tenth${i}`),
      node('Add', [`h${i}`, `tenth${i}`], `h${i + 1}`),
    ];
  });
  return model({
    inputs: [
      { name: 'sample', dtype: 'float32', shape: ['batch', CHANNELS, 'height', 'width'] },
      { name: 'timestep', dtype: 'int64', shape: ['steps'] },
      { name: 'encoder_hidden_states', dtype: 'float32', shape: ['batch', 'tokens', WIDTH] },
    ],
    outputs: [{ name: 'out_sample', dtype: 'float32', shape: ['batch', CHANNELS, 'height', 'width'] }],
    initializers: {
      ...Object.fromEntries(linear.map((layer) => [layer, weights(layer, [WIDTH, WIDTH], 0.2)])),
      times: weights('times', [1000, WIDTH], 0.05),
      tenth: float32([], [0.1]),
      row_axis: int64([1], [1]),
      rows_shape: int64([3], [0, -1, WIDTH]),
    },
    nodes: [
      node('Gather', ['times', 'timestep'], 'time_rows'),
      node('Unsqueeze', ['time_rows', 'row_axis'], 'time'),
      node('ReduceMean', ['encoder_hidden_states'], 'prompt', { axes: { ints: [1] } }),
      node('Add', ['prompt', 'time'], 'embedding'),
      node('Reshape', ['sample', 'rows_shape'], 'rows'),
      node('Add', ['rows', 'embedding'], 'h0'),
      ...layers.flat(),
      node('Shape', ['sample'], 'shape'),
      node('Reshape', [`h${layers.length}`, 'shape'], 'out_sample'),
    ],
  });
}

/** Three colours of four channels, each latent a square of eight pixels. */
function decoder(): Uint8Array<ArrayBuffer> {
  return model({
    inputs: [{ name: 'latent_sample', dtype: 'float32', shape: ['batch', CHANNELS, 'height', 'width'] }],
    outputs: [{ name: 'sample', dtype: 'float32', shape: ['batch', 3, 'pixel_height', 'pixel_width'] }],
    initializers: {
      zero: int64([1], [0]),
      one: int64([1], [1]),
      three: int64([1], [3]),
      four: int64([1], [CHANNELS]),
      half: float32([], [0.5]),
      // So that few colours are all or nothing.
      contrast: float32([], [0.05]),
      scales: float32([4], [1, 1, 8, 8]),
    },
    nodes: [
      node('Slice', ['latent_sample', 'zero', 'three', 'one'], 'first'),
      node('Slice', ['latent_sample', 'one', 'four', 'one'], 'last'),
      node('Mul', ['last', 'half'], 'less'),
      node('Add', ['first', 'less'], 'colors'),
      node('Mul', ['colors', 'contrast'], 'scaled'),
      node('Tanh', ['scaled'], 'small'),
      node('Resize', ['small', '', 'scales'], 'sample', {
        mode: { string: 'nearest' },
        coordinate_transformation_mode: { string: 'asymmetric' },
        nearest_mode: { string: 'floor' },
      }),
    ],
  });
}

/** Means and logarithms of variances of squares of eight pixels. */
function encoder(): Uint8Array<ArrayBuffer> {
  return model({
    inputs: [{ name: 'sample', dtype: 'float32', shape: ['batch', 3, 'pixel_height', 'pixel_width'] }],
    outputs: [
      { name: 'latent_parameters', dtype: 'float32', shape: ['batch', 2 * CHANNELS, 'height', 'width'] },
    ],
    initializers: { patches: weights('patches', [2 * CHANNELS, 3, 8, 8], 0.1) },
    nodes: [node('Conv', ['sample', 'patches'], 'latent_parameters', { strides: { ints: [8, 8] } })],
  });
}

function node(
  op: string,
  inputs: readonly string[],
  output: string,
  attributes: NodeSpec['attributes'] = {},
): NodeSpec {
  return { op, inputs, outputs: [output], attributes };
}

function weights(name: string, dims: readonly number[], std: number): TensorSpec {
  const count = dims.reduce((product, dim) => product * dim, 1);
  return float32(dims, [...hashFill(name, count, { mean: 0, std })]);
}
