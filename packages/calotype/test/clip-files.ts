import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

const folder = new URL('./fixtures/clip-tokenizer/', import.meta.url);

/** Reads a JSON file of the CLIP tokenizer's fixtures. */
export function readClipJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
}

/** CLIP's merges and its vocabulary, which they determine: 256 bytes, the same ending a word, merges, two specials. */
export function readClipVocabulary(): { vocab: Record<string, number>; merges: string } {
  const merges = gunzipSync(readFileSync(new URL('merges.txt.gz', folder))).toString('utf8');
  const ranges = [
    [33, 126],
    [161, 172],
    [174, 255],
  ] as const;
  const printable = ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  const others = Array.from({ length: 256 - printable.length }, (_, i) => 256 + i);
  const bytes = [...printable, ...others].map((code) => String.fromCharCode(code));
  const merged = merges
    .split('\n')
    .slice(1)
    .filter(Boolean)
    .map((line) => line.replace(' ', ''));
  const tokens = [...bytes, ...bytes.map((c) => `${c}</w>`), ...merged, '<|startoftext|>', '<|endoftext|>'];
  return { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges };
}
