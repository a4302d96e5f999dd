import { Tensor } from '@calotype/core';
import { OptionError } from '../errors.ts';
import type { PromptOptions } from '../pipelines/options.ts';
import { bufferOf, emptyTensor, gatherRows, sizeOf, uploadTensor, type RowRange } from '../stages/memory.ts';
import type { EncodeContext, EncodeRequest } from './family.ts';

/** A prompt's part in a branch of guidance: text for each encoder. */
export interface PromptTexts {
  first: string;
  second: string;
  third: string;
}

/** The texts of all branches: with guidance first the negative prompt. */
export function promptTexts({ options, guidance }: EncodeRequest): PromptTexts[] {
  const first = options.prompt ?? '';
  const prompt = { first, second: options.prompt2 ?? first, third: options.prompt3 ?? first };
  if (guidance.scale === undefined) return [prompt];
  const negative = options.negativePrompt ?? '';
  return [
    {
      first: negative,
      second: options.negativePrompt2 ?? negative,
      third: options.negativePrompt3 ?? negative,
    },
    prompt,
  ];
}

/** One part of a joint embedding and where it goes. */
export interface EmbeddingPart {
  /** [prompts, tokens, channels] or [prompts, channels] */
  tensor: Tensor;
  /** First token and channel of its place. */
  token?: number;
  channel?: number;
}

/**
 * Puts embeddings side by side, along tokens or channels; what no part covers is zero.
 *
 * @param shape [prompts, tokens, channels] or [prompts, channels]
 */
export async function joinEmbeddings(
  { engine, kernels }: EncodeContext,
  parts: readonly EmbeddingPart[],
  shape: readonly number[],
): Promise<Tensor<'float32'>> {
  const place = await kernels.get('place');
  const result = emptyTensor(engine, shape, 'embeddings');
  const y = bufferOf(result);
  const clear = engine.device.createCommandEncoder({ label: 'embeddings' });
  clear.clearBuffer(y);
  engine.device.queue.submit([clear.finish()]);
  const [prompts, ...rest] = shape;
  const [tokens, channels] = rest.length === 1 ? [1, rest[0]!] : [rest[0]!, rest[1]!];
  for (const { tensor, token = 0, channel = 0 } of parts) {
    const partChannels = tensor.shape[tensor.shape.length - 1]!;
    const partTokens = sizeOf(tensor.shape) / prompts! / partChannels;
    for (let prompt = 0; prompt < prompts!; prompt++) {
      place(
        { x: bufferOf(tensor), y },
        {
          rows: partTokens,
          columns: partChannels,
          xStride: partChannels,
          xFirst: prompt * partTokens * partChannels,
          yStride: channels,
          yFirst: (prompt * tokens + token) * channels + channel,
        },
        partTokens * partChannels,
      );
    }
  }
  return result;
}

type EmbeddingOption =
  'promptEmbeds' | 'negativePromptEmbeds' | 'pooledPromptEmbeds' | 'negativePooledPromptEmbeds';

/**
 * The rows of a conditioning input: every branch's embedding for all images. The caller's embeddings take the place of
 * the encoded ones, which then need not be there.
 *
 * @param encoded a row for each branch, from the prompt's text; `scratch` has it
 * @param given names of the options that replace each branch's
 * @throws OptionError for embeddings of the wrong shape, or none at all
 */
export function branchRows(
  context: EncodeContext,
  request: EncodeRequest,
  encoded: Tensor | undefined,
  given: readonly [negative: EmbeddingOption, positive: EmbeddingOption],
  scratch: Scratch,
): Tensor {
  const images = request.shape[0]!;
  const options = request.guidance.scale === undefined ? given.slice(1) : given;
  const isWhole = images === 1 && encoded?.shape[0] === options.length;
  if (
    isWhole &&
    request.options.prompt !== undefined &&
    options.every((option) => !request.options[option])
  ) {
    return scratch.release(encoded);
  }
  const uploaded: Tensor[] = [];
  try {
    const ranges = options.flatMap((option, branch): RowRange[] => {
      const own = request.options[option];
      if (!own) {
        const isPrompt = branch === options.length - 1;
        if (!encoded || (isPrompt && request.options.prompt === undefined)) {
          throw new OptionError(
            option,
            'is missing: the prompt is given as embeddings, and this is a part of it.',
          );
        }
        return Array.from({ length: images }, () => ({ tensor: encoded, first: branch, count: 1 }));
      }
      const rows = own.shape[0]!;
      if (rows !== 1 && rows !== images) {
        throw new OptionError(
          option,
          `has ${rows} rows for ${images} images. Give one, or one for each image.`,
        );
      }
      const tensor = own.cpu
        ? uploadTensor(context.engine, own.shape, own.cpu as Float32Array<ArrayBuffer>, option)
        : own;
      if (tensor !== own) uploaded.push(tensor);
      return Array.from({ length: images }, (_, i) => ({ tensor, first: rows === 1 ? 0 : i, count: 1 }));
    });
    const [, ...rest] = ranges[0]!.tensor.shape;
    for (const [i, { tensor }] of ranges.entries()) {
      if (tensor.shape.slice(1).join() === rest.join()) continue;
      throw new OptionError(
        options[Math.floor(i / images)]!,
        `is [${tensor.shape.slice(1).join(', ')}] an image, and the other branch's [${rest.join(', ')}]. Guidance needs equal shapes.`,
      );
    }
    return gatherRows(context.engine, ranges, [ranges.length, ...rest], 'embeddings');
  } finally {
    for (const tensor of uploaded) tensor.dispose();
  }
}

/** Whether text has to be encoded for an embedding, or the caller gave it all. */
export function needsText(
  request: EncodeRequest,
  given: readonly [negative: EmbeddingOption, positive: EmbeddingOption],
): boolean {
  const options: PromptOptions = request.options;
  return !options[given[1]] || (request.guidance.scale !== undefined && !options[given[0]]);
}

/** Rows of numbers, the same for all images of a branch. */
export function numberRows(
  { engine }: EncodeContext,
  request: EncodeRequest,
  branches: readonly (readonly number[])[],
  label: string,
): Tensor {
  const images = request.shape[0]!;
  const values = branches.flatMap((row) => Array.from({ length: images }, () => row)).flat();
  const width = branches[0]!.length;
  return uploadTensor(engine, [branches.length * images, width], Float32Array.from(values), label);
}

/** Inputs in the making: disposed of at the end of the scope, unless `done` has handed them on. */
export class Making {
  #made: Record<string, Tensor> = {};

  add<T extends Tensor>(name: string, tensor: T): T {
    this.#made[name] = tensor;
    return tensor;
  }

  done(): Record<string, Tensor> {
    const made = this.#made;
    this.#made = {};
    return made;
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#made)) tensor.dispose();
  }
}

/** Disposes of all it was given, at the end of its scope. */
export class Scratch {
  readonly #tensors: Tensor[] = [];

  keep<T extends Tensor>(tensor: T): T {
    this.#tensors.push(tensor);
    return tensor;
  }

  /** Hands a tensor's memory on: it stays when the scope ends. */
  release<T extends Tensor>(tensor: T): T {
    const at = this.#tensors.findIndex(({ gpu }) => gpu?.buffer === tensor.gpu?.buffer);
    if (at < 0) throw new Error('Internal error: a tensor is handed on that is not kept');
    this.#tensors.splice(at, 1);
    return tensor;
  }

  keepAll<T extends Record<string, Tensor>>(tensors: T): T {
    this.#tensors.push(...Object.values(tensors));
    return tensors;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}
