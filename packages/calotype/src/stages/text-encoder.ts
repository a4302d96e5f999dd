import { Tensor, type Engine, type Session } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { PromptTokenizer } from '../tokenizer/index.ts';
import type { StageKernels } from './kernels.ts';
import { bufferOf, emptyTensor, sizeOf } from './memory.ts';

/** A text encoder with its tokenizer. */
export interface TextEncoder {
  /** Its folder, e.g. `text_encoder_2`. */
  component: string;
  session: Session;
  tokenizer: PromptTokenizer;
}

/** One text as an encoder takes it. */
export interface TokenRow {
  ids: ArrayLike<number>;
  /** 1 for tokens, 0 for padding, for encoders that take an attention mask. */
  mask: ArrayLike<number>;
}

/** A text padded and cut to `maxLength` tokens, by default the tokenizer's own. */
export function tokenRow(tokenizer: PromptTokenizer, text: string, maxLength?: number): TokenRow {
  const { ids, count } = tokenizer.encode(text, maxLength === undefined ? {} : { maxLength });
  const first = tokenizer.paddingSide === 'left' ? ids.length - count : 0;
  return { ids, mask: Uint8Array.from(ids, (_, i) => (i >= first && i < first + count ? 1 : 0)) };
}

/** Names of an encoder's hidden states after each layer; the first are the embeddings. Empty where it gives none. */
export function hiddenStateNames({ session }: TextEncoder): string[] {
  return session.outputs
    .map(({ name }) => name)
    .filter((name) => /^hidden_states\.\d+$/.test(name))
    .toSorted((a, b) => Number(a.slice(14)) - Number(b.slice(14)));
}

/**
 * Runs texts through an encoder.
 *
 * @param wanted outputs to keep
 * @returns them on the GPU in float32, a row for each of `rows`; equal rows are encoded once. The caller disposes of them
 * @throws ModelFolderError for a graph that is no text encoder
 */
export async function encodeText(
  engine: Engine,
  kernels: StageKernels,
  encoder: TextEncoder,
  rows: readonly TokenRow[],
  wanted: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Record<string, Tensor<'float32'>>> {
  const { session, component } = encoder;
  const keys = rows.map(({ ids }) => Array.from(ids).join());
  const distinct = [...new Set(keys)];
  const used = distinct.map((key) => rows[keys.indexOf(key)]!);
  // Some exports fix the batch: then the texts go through in groups of that size, the last one filled up.
  const fixed = inputOf(encoder, 'input_ids').shape?.[0];
  const perCall = typeof fixed === 'number' ? fixed : used.length;
  const missing = wanted.find((name) => !session.outputs.some((output) => output.name === name));
  if (missing !== undefined) {
    throw new ModelFolderError(`${component}/model.onnx`, `gives no output '${missing}'.`);
  }
  const copies = { f32: await kernels.get('affine'), f16: await kernels.get('affine', { x: 'f16' }) };
  const results: Record<string, Tensor<'float32'>> = {};
  /** Copies the rows that are the encoder's rows from `at` on, in float32. */
  const keep = (outputs: Readonly<Record<string, Tensor>>, at: number): void => {
    for (const name of wanted) {
      const output = outputs[name]!;
      const rest = output.shape.slice(1);
      const elements = sizeOf(rest);
      const result = (results[name] ??= emptyTensor(engine, [rows.length, ...rest], 'embeddings'));
      const copy = copies[output.gpu!.storage as keyof typeof copies];
      for (const [i, key] of keys.entries()) {
        const row = distinct.indexOf(key) - at;
        if (row < 0 || row >= perCall) continue;
        const buffers = { x: bufferOf(output), y: bufferOf(result) };
        const [xFirst, yFirst] = [row * elements, i * elements];
        copy(buffers, { elements, xFirst, yFirst, scale: 1, shift: 0 }, elements);
      }
    }
  };
  try {
    for (let at = 0; at < used.length; at += perCall) {
      const group = Array.from({ length: perCall }, (_, i) => used[Math.min(at + i, used.length - 1)]!);
      const feeds = {
        input_ids: integers(encoder, 'input_ids', group.map(({ ids }) => ids)),
        ...(session.inputs.some(({ name }) => name === 'attention_mask') && {
          attention_mask: integers(encoder, 'attention_mask', group.map(({ mask }) => mask)),
        }),
      }; // prettier-ignore
      const after = (outputs: Readonly<Record<string, Tensor>>): void => keep(outputs, at);
      const outputs = await session.run(feeds, { after, ...(signal && { signal }) });
      for (const tensor of Object.values(outputs)) tensor.dispose();
    }
    return results;
  } catch (error) {
    for (const tensor of Object.values(results)) tensor.dispose();
    throw error;
  }
}

function inputOf({ session, component }: TextEncoder, name: string): Session['inputs'][number] {
  const input = session.inputs.find((candidate) => candidate.name === name);
  if (input) return input;
  throw new ModelFolderError(`${component}/model.onnx`, `has no input '${name}'; it is no text encoder.`);
}

function integers(encoder: TextEncoder, name: string, rows: readonly ArrayLike<number>[]): Tensor {
  const { dtype } = inputOf(encoder, name);
  const values = rows.flatMap((row) => Array.from(row));
  return Tensor.from(
    dtype === undefined || dtype === 'string' ? 'int64' : dtype,
    [rows.length, rows[0]!.length],
    values,
  );
}
