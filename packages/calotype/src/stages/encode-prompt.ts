import { Tensor, type Engine, type Session } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import type { PromptTokenizer } from '../tokenizer/index.ts';

/** A text encoder with its tokenizer. */
export interface TextEncoder {
  session: Session;
  tokenizer: PromptTokenizer;
}

/**
 * Encodes prompts to the hidden states that the denoiser attends to.
 *
 * @returns on the GPU, [prompts, tokens, channels], in the order of `prompts`; equal prompts are encoded once
 */
export async function encodePrompts(
  engine: Engine,
  encoder: TextEncoder,
  prompts: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  const distinct = [...new Set(prompts)];
  const input = encoder.session.inputs.find(({ name }) => name === 'input_ids');
  const hidden =
    encoder.session.outputs.find(({ name }) => name === 'last_hidden_state') ?? encoder.session.outputs[0];
  if (!input || !hidden) {
    throw new ModelFolderError(
      'text_encoder/model.onnx',
      "has no input 'input_ids'; it is no CLIP text encoder.",
    );
  }
  const dtype = input.dtype === 'int32' ? 'int32' : 'int64';
  // Some exports fix the batch: then the prompts go through in groups of that size, the last one filled up.
  const fixed = typeof input.shape?.[0] === 'number' ? input.shape[0] : distinct.length;
  const parts: Tensor[] = [];
  try {
    for (let at = 0; at < distinct.length; at += fixed) {
      const group = Array.from({ length: fixed }, (_, i) => distinct[Math.min(at + i, distinct.length - 1)]!);
      const ids = group.map((prompt) => encoder.tokenizer.encode(prompt).ids);
      using tokens = Tensor.from(
        dtype,
        [fixed, ids[0]!.length],
        ids.flatMap((row) => [...row]),
      );
      const outputs = await encoder.session.run({ input_ids: tokens }, signal ? { signal } : {});
      for (const [name, tensor] of Object.entries(outputs)) {
        if (name === hidden.name) parts.push(tensor);
        else tensor.dispose();
      }
    }
    const rows = prompts.map((prompt) => distinct.indexOf(prompt));
    if (parts.length === 1 && rows.length === parts[0]!.shape[0] && rows.every((row, i) => row === i)) {
      return parts.pop()!;
    }
    return gatherRows(engine, parts, fixed, rows);
  } finally {
    for (const part of parts) part.dispose();
  }
}

/** Copies rows of equally shaped tensors into one tensor. Row r is row r % perPart of part r / perPart. */
function gatherRows(
  engine: Engine,
  parts: readonly Tensor[],
  perPart: number,
  rows: readonly number[],
): Tensor {
  const [first] = parts;
  const { storage } = first!.gpu!;
  const [, ...rest] = first!.shape;
  const rowBytes = rest.reduce((product, dim) => product * dim, 1) * (storage === 'f16' ? 2 : 4);
  const bytes = Math.ceil((rowBytes * rows.length) / 16) * 16;
  const buffer = engine.buffers.acquire(bytes, 'prompt embeddings');
  const copies = engine.device.createCommandEncoder({ label: 'prompt embeddings' });
  rows.forEach((row, i) => {
    const source = parts[Math.floor(row / perPart)]!.gpu!.buffer;
    copies.copyBufferToBuffer(source, (row % perPart) * rowBytes, buffer, i * rowBytes, rowBytes);
  });
  engine.device.queue.submit([copies.finish()]);
  return new Tensor(first!.dtype, [rows.length, ...rest], { engine, buffer, storage });
}
