import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSession, mapStore, type Engine, type WeightInfo } from '@calotype/core';
import { fixturesDir } from '@calotype/dev/fixtures';
import { expect, test } from 'vitest';
import { weightsByModule } from './modules.ts';

/** Nothing is run on it. */
const engine = {} as Engine;

async function weightsOf(file: string): Promise<readonly WeightInfo[]> {
  const bytes = new Uint8Array(readFileSync(join(fixturesDir, 'full-size', file)));
  const store = mapStore({ 'model.onnx': bytes });
  const session = await createSession(
    { store, path: 'model.onnx' },
    { engine, allowMissingExternalData: true },
  );
  return session.weights;
}

// Keys as trainers write them, with the modules that diffusers loads them into.
const files: [file: string, keys: Record<string, string>][] = [
  [
    'sdxl-unet-fp16.onnx',
    {
      input_blocks_4_1_transformer_blocks_0_attn1_to_k: 'down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k',
      input_blocks_8_1_proj_in: 'down_blocks.2.attentions.1.proj_in',
      input_blocks_3_0_op: 'down_blocks.0.downsamplers.0.conv',
      input_blocks_7_0_skip_connection: 'down_blocks.2.resnets.0.conv_shortcut',
      middle_block_1_transformer_blocks_9_ff_net_0_proj: 'mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj',
      middle_block_2_in_layers_2: 'mid_block.resnets.1.conv1',
      output_blocks_2_2_conv: 'up_blocks.0.upsamplers.0.conv',
      output_blocks_5_1_transformer_blocks_1_attn2_to_out_0: 'up_blocks.1.attentions.2.transformer_blocks.1.attn2.to_out.0',
      output_blocks_8_0_emb_layers_1: 'up_blocks.2.resnets.2.time_emb_proj',
      label_emb_0_2: 'add_embedding.linear_2',
      down_blocks_1_attentions_0_proj_out: 'down_blocks.1.attentions.0.proj_out',
    },
  ],
  [
    'sd15-unet-fp16.onnx',
    {
      down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out: 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0',
      output_blocks_2_1_conv: 'up_blocks.0.upsamplers.0.conv',
      output_blocks_5_2_conv: 'up_blocks.1.upsamplers.0.conv',
      out_2: 'conv_out',
    },
  ],
  [
    'clip-l-text-encoder-fp16.onnx',
    { encoder_layers_11_self_attn_out_proj: 'encoder.layers.11.self_attn.out_proj' },
  ],
]; // prettier-ignore

test.each(files)('%s', async (file, keys) => {
  const names = weightsByModule(await weightsOf(file), Object.keys(keys));
  for (const [key, module] of Object.entries(keys)) {
    expect(names.get(key)?.modules, key).toEqual([`${file.startsWith('clip') ? 'c' : 'u'}.${module}`]);
  }
});
