import { expect, test } from 'vitest';
import { otherMethod, parseKey } from './keys.ts';

const keys: [key: string, component: string, module: string, part: string][] = [
  [
    'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight',
    'denoiser',
    'down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q',
    'down',
  ],
  ['lora_unet_input_blocks_4_1_proj_in.lora_up.weight', 'denoiser', 'input_blocks_4_1_proj_in', 'up'],
  ['lora_unet_mid_block_resnets_0_conv1.lora_mid.weight', 'denoiser', 'mid_block_resnets_0_conv1', 'mid'],
  ['lora_unet_mid_block_resnets_0_conv1.alpha', 'denoiser', 'mid_block_resnets_0_conv1', 'alpha'],
  [
    'lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight',
    'text_encoder',
    'encoder_layers_0_mlp_fc1',
    'down',
  ],
  [
    'lora_te1_text_model_encoder_layers_3_self_attn_q_proj.alpha',
    'text_encoder',
    'encoder_layers_3_self_attn_q_proj',
    'alpha',
  ],
  [
    'lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight',
    'text_encoder_2',
    'encoder_layers_3_self_attn_q_proj',
    'up',
  ],
  [
    'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight',
    'denoiser',
    'mid_block_attentions_0_transformer_blocks_0_attn1_to_q',
    'down',
  ],
  ['unet.conv_in.lora_B.default.weight', 'denoiser', 'conv_in', 'up'],
  ['unet.conv_in.lora_B.default_0.weight', 'denoiser', 'conv_in', 'up'],
  [
    'unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.down.weight',
    'denoiser',
    'up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out',
    'down',
  ],
  [
    'mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_k_lora.up.weight',
    'denoiser',
    'mid_block_attentions_0_transformer_blocks_0_attn1_to_k',
    'up',
  ],
  [
    'unet.mid_block.attentions.0.proj_in.lora.down.weight',
    'denoiser',
    'mid_block_attentions_0_proj_in',
    'down',
  ],
  [
    'text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight',
    'text_encoder',
    'encoder_layers_0_self_attn_q_proj',
    'down',
  ],
  [
    'text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight',
    'text_encoder_2',
    'encoder_layers_0_self_attn_q_proj',
    'up',
  ],
  [
    'transformer.transformer_blocks.3.attn.to_q.lora_A.weight',
    'denoiser',
    'transformer_blocks_3_attn_to_q',
    'down',
  ],
  ['transformer_blocks.3.attn.to_q.lora_A.weight', 'denoiser', 'transformer_blocks_3_attn_to_q', 'down'],
  [
    'base_model.model.down_blocks.0.resnets.0.conv1.lora_A.weight',
    'denoiser',
    'down_blocks_0_resnets_0_conv1',
    'down',
  ],
];

test.each(keys)('%s', (key, component, module, part) => {
  expect(parseKey(key)).toEqual({ component, module, part });
  expect(otherMethod(key)).toBeUndefined();
});

test.each([
  ['lora_unet_conv_in.dora_scale', 'DoRA'],
  ['unet.conv_in.lora_magnitude_vector.weight', 'DoRA'],
  ['lora_unet_conv_in.hada_w1_a', 'LoHa'],
  ['lora_unet_conv_in.lokr_w1', 'LoKr'],
  ['lora_unet_conv_in.diff', 'full weights'],
  ['unet.conv_in.lora_B.bias', 'LoRA with biases'],
  ['text_encoder.text_model.embeddings.token_embedding.lora_embedding_A', 'LoRA of embeddings'],
])('%s belongs to %s', (key, method) => expect(otherMethod(key)).toBe(method));

test('what is nothing of a LoRA', () => {
  expect(parseKey('down_blocks.0.resnets.0.conv1.weight')).toBeUndefined();
});
