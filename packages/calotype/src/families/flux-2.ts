import type { Tensor } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import { flux2Shift } from '../samplers/flow-schedule.ts';
import { encodeText, hiddenStateNames, tokenRow, type TextEncoder } from '../stages/text-encoder.ts';
import { besideEachOther } from './clip.ts';
import { branchRows, Making, needsText, promptTexts, Scratch } from './embeddings.ts';
import {
  classifierFree,
  encoderOf,
  takes,
  type EncodeContext,
  type EncodeRequest,
  type Family,
} from './family.ts';
import { addGuidance, ownSigmas } from './flux.ts';
import { addPositions, tokenGrid } from './position-ids.ts';

const PATCH = 2;

/** Layers of Qwen3 whose hidden states are stacked, as FLUX.2 [klein] was trained. */
const LAYERS = [9, 18, 27];

/** FLUX.2: a transformer over packed latents with positions of four axes, hidden states of several Qwen3 layers. */
export const flux2: Family = {
  name: 'flux-2',
  layout: { sample: 'hidden_states', patch: PATCH, timestepScale: 1 / 1000 },
  defaults: { numInferenceSteps: 28, guidanceScale: 4 },
  defaultSize: 1024,
  template: chat,
  tokens: (_, { maxSequenceLength = 512 }) => maxSequenceLength,
  guidance: ({ denoiser, facts }, { guidanceScale = 4 }) => {
    if (takes(denoiser, 'guidance')) return { scale: undefined, embedded: guidanceScale };
    const isDistilled = facts.index['is_distilled'] === true;
    return { ...classifierFree(isDistilled ? undefined : guidanceScale), embedded: undefined };
  },
  schedule: (request) => {
    const [rows, columns] = tokenGrid(request.shape, PATCH);
    const { steps, options } = request;
    return { ...options, mu: options.mu ?? flux2Shift(rows * columns, steps), ...ownSigmas(request) };
  },
  // diffusers draws the noise of packed latents: channel, place in the patch, then the token.
  noise: {
    shape: ([images, channels, height, width]) => [
      images!,
      channels! * PATCH ** 2,
      height! / PATCH,
      width! / PATCH,
    ],
    arrange: unpatched,
  },
  async encode(context, request) {
    using scratch = new Scratch();
    const given = ['negativePromptEmbeds', 'promptEmbeds'] as const;
    const hidden = needsText(request, given) ? await qwenEmbeddings(context, request, scratch) : undefined;
    using rows = new Making();
    using shared = new Making();
    const embeddings = rows.add(
      'encoder_hidden_states',
      branchRows(context, request, hidden, given, scratch),
    );
    addGuidance(context, request, rows);
    const [height, width] = tokenGrid(request.shape, PATCH);
    const tokens = Array.from({ length: embeddings.shape[1]! }, (_, i) => [0, 0, 0, i]);
    const image = Array.from({ length: height * width }, (_, i) => [0, Math.floor(i / width), i % width, 0]);
    addPositions(context, { img_ids: image, txt_ids: tokens }, embeddings.shape[0]!, { rows, shared });
    return {
      images: request.shape[0]!,
      branches: request.guidance.scale === undefined ? 1 : 2,
      rows: rows.done(),
      shared: shared.done(),
    };
  },
};

/** Hidden states of three layers, one after the other in each token's channels. */
async function qwenEmbeddings(
  context: EncodeContext,
  request: EncodeRequest,
  scratch: Scratch,
): Promise<Tensor<'float32'>> {
  const encoder = encoderOf(context, 'text_encoder');
  const length = request.options.maxSequenceLength ?? 512;
  const rows = promptTexts(request).map(({ first }) => tokenRow(encoder.tokenizer, chat(first), length));
  const names = stackedOutputs(encoder);
  const outputs = scratch.keepAll(
    await encodeText(context.engine, context.kernels, encoder, rows, names, request.signal),
  );
  return besideEachOther(
    context,
    names.map((name) => outputs[name]!),
    scratch,
  );
}

/** Qwen3's chat template for one message of a user, thinking switched off. */
function chat(prompt: string): string {
  return `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n`;
}

/** Outputs to put side by side: the layers', or the one of an export that has stacked them itself. */
function stackedOutputs(encoder: TextEncoder): string[] {
  const names = encoder.session.outputs.map(({ name }) => name);
  if (names.includes('prompt_embeds')) return ['prompt_embeds'];
  const layers = new Set(hiddenStateNames(encoder));
  const wanted = LAYERS.map((layer) => `hidden_states.${layer}`);
  if (wanted.every((name) => layers.has(name))) return wanted;
  throw new ModelFolderError(
    `${encoder.component}/model.onnx`,
    `gives neither 'prompt_embeds' nor ${wanted.join(', ')}. Export it with its hidden states.`,
  );
}

/** [images, channels · 4, height / 2, width / 2] to [images, channels, height, width]. */
function unpatched(values: Float32Array<ArrayBuffer>, latents: readonly number[]): Float32Array<ArrayBuffer> {
  const [, , height, width] = latents as [number, number, number, number];
  const [rows, columns] = [height / PATCH, width / PATCH];
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const x = i % width;
    const y = Math.floor(i / width) % height;
    const plane = Math.floor(i / (width * height));
    const feature = plane * PATCH ** 2 + (y % PATCH) * PATCH + (x % PATCH);
    result[i] = values[(feature * rows + Math.floor(y / PATCH)) * columns + Math.floor(x / PATCH)]!;
  }
  return result;
}
