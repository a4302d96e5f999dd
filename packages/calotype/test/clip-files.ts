import { readJsonGz, readTextGz } from './read-json-gz.ts';

/** Reads a JSON file of the CLIP tokenizer's fixtures. */
export function readClipJson(name: string): unknown {
  return readJsonGz(`clip-tokenizer/${name}.gz`);
}

/** CLIP's merges and its vocabulary, which they determine: 256 bytes, the same ending a word, merges, two specials. */
export function readClipVocabulary(): { vocab: Record<string, number>; merges: string } {
  const merges = readTextGz('clip-tokenizer/merges.txt.gz');
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
