export { chunkPrompt, chunkPrompts } from './chunks.ts';
export type { ChunkedPrompt, ChunkTokenizer, PromptChunk } from './chunks.ts';
export { parsePrompt, plainText } from './weights.ts';
export type { WeightedText } from './weights.ts';
