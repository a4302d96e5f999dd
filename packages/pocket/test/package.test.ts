import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { expect, test } from 'vitest';
import { modelUrl } from '../index.js';

const folder = fileURLToPath(new URL('..', import.meta.url));

interface Packed {
  files: { path: string; size: number }[];
}

const packed = (async (): Promise<Packed> => {
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json'], { cwd: folder });
  return (JSON.parse(stdout) as [Packed])[0];
})();

test('what is packed: the model within 26 MB, every licence, no picture and nothing of the training', async () => {
  const { files } = await packed;
  const bytes = files.filter(({ path }) => path.startsWith('model/')).reduce((sum, { size }) => sum + size, 0);
  expect(bytes).toBeGreaterThan(20e6);
  expect(bytes).toBeLessThanOrEqual(26e6);
  const paths = files.map(({ path }) => path);
  expect(paths.filter((path) => /^training|\.(webp|png|jpe?g|svg|bin|pt)$/.test(path))).toEqual([]);
  for (const name of ['Apache-2.0', 'MIT-LobeHub', 'MIT-Microsoft', 'MIT-emojibase', 'MIT-emojilib', 'Unicode-3.0']) {
    expect(paths).toContain(`LICENSES/${name}.txt`);
  }
  expect(paths).toEqual(expect.arrayContaining(['README.md', 'LICENSES/README.md', 'index.d.ts']));
});

test('the folder holds every component that model_index.json names', async () => {
  const index = JSON.parse(await readFile(new URL('model_index.json', modelUrl), 'utf8')) as Record<string, unknown>;
  const components = Object.entries(index).filter(([, value]) => Array.isArray(value) && value[0] !== null);
  expect(components.map(([name]) => name).sort()).toEqual([
    'scheduler', 'text_encoder', 'tokenizer', 'unet', 'vae_decoder', 'vae_encoder',
  ]);
  for (const [name, value] of components) {
    const isGraph = (value as string[])[1] === 'OnnxRuntimeModel';
    const file = isGraph ? 'model.onnx' : name === 'tokenizer' ? 'tokenizer.json' : 'scheduler_config.json';
    expect(existsSync(new URL(`${name}/${file}`, modelUrl)), `${name}/${file}`).toBe(true);
  }
});

test('the vocabulary knows the words of the examples and suggestions', async () => {
  const { vocabulary, examples, suggestions } = JSON.parse(
    await readFile(new URL('calotype.json', modelUrl), 'utf8'),
  ) as { vocabulary: string[]; examples: string[]; suggestions: Record<string, string[]> };
  const known = new Set(vocabulary);
  const used = [...examples, ...Object.values(suggestions).flat()].join(' ').toLowerCase().match(/\p{L}+/gu) ?? [];
  expect(used.filter((word) => !known.has(word) && !known.has(word.replace(/s$/, '')))).toEqual([]);
  expect(known.has('lighthouse')).toBe(false);
});

test('plurals are tokens of their own, and the table of embeddings has a row for every token', async () => {
  const read = async (path: string): Promise<unknown> =>
    JSON.parse(await readFile(new URL(path, modelUrl), 'utf8'));
  const { model } = (await read('tokenizer/tokenizer.json')) as { model: { vocab: Record<string, number> } };
  const ids = Object.values(model.vocab).sort((a, b) => a - b);
  expect(ids).toEqual(ids.map((_, i) => i));
  expect(await read('text_encoder/config.json')).toMatchObject({ vocab_size: ids.length });
  const { vocabulary } = (await read('calotype.json')) as { vocabulary: string[] };
  for (const word of ['turtles', 'robots', 'dodos', 'strawberries', 'foxes', 'trolleys']) {
    expect(model.vocab).toHaveProperty(`${word}</w>`);
    expect(vocabulary).toContain(word);
  }
});

test('publint finds nothing', async () => {
  const { messages } = await publint({ pkgDir: folder, strict: true, pack: 'npm' });
  expect(messages).toEqual([]);
});
