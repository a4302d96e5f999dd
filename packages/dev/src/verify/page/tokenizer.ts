import { loadTokenizer, type TokenizerSource } from 'calotype';
import type { FixtureOf, Verdict } from '../types.ts';
import { fetchFixture, fixtureUrl } from './reference.ts';

interface ExpectedText {
  text: string;
  /** Cut and padded to the encoder's length. */
  input_ids: number[];
  unpadded: number[];
}

/** Every text through `tokenizer.json` and through `vocab.json` with `merges.txt`, whichever the folder has. */
export async function verifyTokenizer({ folder, expected }: FixtureOf<'tokenizer'>): Promise<Verdict> {
  const texts = JSON.parse(new TextDecoder().decode(await fetchFixture(expected))) as ExpectedText[];
  const problems: string[] = [];
  const forms: string[] = [];
  for (const [form, hidden] of [
    ['tokenizer.json', 'vocab.json'],
    ['vocab.json', 'tokenizer.json'],
  ] as const) {
    const source = folderSource(folder, hidden);
    if (!(await source.text(`tokenizer/${form}`))) continue;
    forms.push(form);
    const tokenizer = await loadTokenizer(source, 'tokenizer', texts[0]?.input_ids.length);
    for (const { text, input_ids: padded, unpadded } of texts) {
      const { ids, count } = tokenizer.encode(text);
      const wanted = unpadded.length <= padded.length ? unpadded : padded;
      if (ids.join() !== padded.join() || ids.slice(0, count).join() !== wanted.join()) {
        problems.push(`${form}: ${JSON.stringify(text.slice(0, 60))}`);
      }
    }
  }
  if (!forms.length) throw new Error(`${folder} holds no tokenizer.`);
  const checked = `${texts.length} texts by ${forms.join(' and ')}`;
  return {
    status: problems.length ? 'failed' : 'passed',
    path: 'tokens',
    detail: problems.length
      ? `${problems.length} of ${checked} differ:\n${problems.slice(0, 8).join('\n')}`
      : checked,
  };
}

/** The fixture's folder as a model's component `tokenizer`, as if the file `hidden` were not there. */
function folderSource(folder: string, hidden: string): TokenizerSource {
  const text = async (path: string): Promise<string | undefined> => {
    const file = path.slice('tokenizer/'.length);
    if (file === hidden) return undefined;
    const response = await fetch(fixtureUrl(`${folder}/${file}`));
    return response.ok ? response.text() : undefined;
  };
  return {
    text,
    async json(path) {
      const found = await text(path);
      return found === undefined ? undefined : (JSON.parse(found) as Record<string, unknown>);
    },
  };
}
