/** Parts of a pipeline that a LoRA may change; the denoiser is the UNet or the transformer. */
export type LoraComponent = 'denoiser' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';

/** What a tensor of a LoRA file is to the module it belongs to. */
export type LoraPart = 'down' | 'up' | 'mid' | 'alpha';

export interface LoraKey {
  component: LoraComponent;
  /** The module's path with `_` between its parts, as kohya's trainer writes it: `down_blocks_0_attentions_0_proj_in`. */
  module: string;
  part: LoraPart;
}

/** Endings of keys in the styles of kohya's trainer, of diffusers' attention processors, and of PEFT. */
const parts: readonly [LoraPart, RegExp][] = [
  ['down', /(?:[._]lora\.down|\.lora_(?:down|A|linear_layer\.down)(?:\.default\w*)?)\.weight$/],
  ['up', /(?:[._]lora\.up|\.lora_(?:up|B|linear_layer\.up)(?:\.default\w*)?)\.weight$/],
  ['mid', /\.lora_mid\.weight$/],
  ['alpha', /\.alpha$/],
];

/** Beginnings of keys by the component that they name. */
const prefixes: readonly [RegExp, LoraComponent][] = [
  [/^lora_te2_|^text_encoder_2\./, 'text_encoder_2'],
  [/^lora_te3_|^text_encoder_3\./, 'text_encoder_3'],
  [/^lora_te1?_|^text_encoder\./, 'text_encoder'],
  [/^lora_(?:unet|transformer)_|^(?:unet|transformer|diffusion_model)\./, 'denoiser'],
];

/** Tensors that say that a file is no plain LoRA. */
const otherMethods: readonly [RegExp, string][] = [
  [/\.(?:dora_scale|lora_magnitude_vector)/, 'DoRA'],
  [/\.hada_/, 'LoHa'],
  [/\.lokr_/, 'LoKr'],
  [/\.(?:oft_|boft_)/, 'OFT'],
  [/\.(?:diff|diff_b|w_norm|b_norm|set_weight)$/, 'full weights'],
  [/\.on_input$/, 'IA3'],
  [/\.lora_(?:B|up)(?:\.default\w*)?\.bias$/, 'LoRA with biases'],
  [/\.lora_embedding_[AB]/, 'LoRA of embeddings'],
];

/** The method of a tensor that is not LoRA's; `undefined` where it may be. */
export function otherMethod(key: string): string | undefined {
  return otherMethods.find(([pattern]) => pattern.test(key))?.[1];
}

/** Reads a tensor's name; `undefined` for what is nothing of a LoRA. */
export function parseKey(key: string): LoraKey | undefined {
  const found = parts.find(([, pattern]) => pattern.test(key));
  if (!found) return undefined;
  const [part, ending] = found;
  let path = key.replace(ending, '').replace(/^base_model\.model\./, '');
  let component: LoraComponent = 'denoiser';
  for (const [pattern, named] of prefixes) {
    if (!pattern.test(path)) continue;
    component = named;
    path = path.replace(pattern, '');
    break;
  }
  const module = path.replace('.processor.', '.').replaceAll('.', '_');
  return { component, module: component === 'denoiser' ? module : module.replace(/^text_model_/, ''), part };
}
