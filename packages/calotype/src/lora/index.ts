export type { LoraSource } from './file.ts';
export type { LoraComponent } from './keys.ts';
export { LoraSet } from './lora-set.ts';
export type { Lora, LoraOptions } from './lora-set.ts';
