export type { TokenizerFiles } from './files.ts';
export { loadTokenizer } from './load.ts';
export type { TokenizerSource } from './load.ts';
export { PromptTokenizer } from './prompt-tokenizer.ts';
export type { EncodedPrompt, WordSpan } from './prompt-tokenizer.ts';
