import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpackFixtures } from '../../../packages/dev/src/fixtures.ts';
import { fileHandler } from '../../../packages/dev/src/serve.ts';
import { marked } from 'marked';
import type { Plugin } from 'vite';
import type { BundledModel, ModelCard, ModelManifest } from '../src/models/bundled.ts';

const pocketDir = fileURLToPath(new URL('../../../packages/pocket', import.meta.url));

/** Parts of a model folder that making pictures from text does not need. */
const leftOut = ['reference/', 'vae_encoder/'];

interface Found {
  folder: string;
  files: string[];
  model: BundledModel;
}

/**
 * Puts the model that the page opens with beside it: the trained one where the workspace has it, else the tiny random
 * one. `virtual:bundled-model` says which, `model-card.json` holds its card and licences as HTML and text.
 */
export function bundledModel(): Plugin {
  let found: Promise<Found> | undefined;
  const find = (): Promise<Found> => (found ??= findModel());
  return {
    name: 'bundled-model',
    resolveId(id) {
      return id === 'virtual:bundled-model' ? `\0${id}` : null;
    },
    async load(id) {
      if (id === '\0virtual:bundled-model') {
        return `export const bundledModel = ${JSON.stringify((await find()).model)};`;
      }
      return null;
    },
    async configureServer(server) {
      const { folder, model } = await find();
      const handle = fileHandler({ [`/${model.path}`]: folder });
      server.middlewares.use('/model-card.json', (_, response) => {
        void readCard().then((card) => response.end(JSON.stringify(card)));
      });
      server.middlewares.use((request, response, next) => {
        handle(request, response).then((handled) => {
          if (handled) return;
          // Vite alone would answer with the page.
          if (request.url?.startsWith('/models/')) response.writeHead(404).end();
          else next();
        }, next);
      });
    },
    async generateBundle() {
      const { folder, files, model } = await find();
      const card = JSON.stringify(await readCard());
      this.emitFile({ type: 'asset', fileName: 'model-card.json', source: card });
      for (const file of files) {
        this.emitFile({
          type: 'asset',
          fileName: model.path + file,
          source: await readFile(join(folder, file)),
        });
      }
    },
  };
}

async function findModel(): Promise<Found> {
  const trained = existsSync(join(pocketDir, 'model', 'model_index.json'));
  const id = trained ? 'pocket' : 'tiny-sd';
  const folder = trained ? join(pocketDir, 'model') : join(await unpackFixtures(), 'tiny-sd');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .filter((file) => !leftOut.some((prefix) => file.startsWith(prefix)))
    .toSorted();
  const digest = createHash('sha256');
  let bytes = 0;
  for (const file of files) {
    const contents = await readFile(join(folder, file));
    digest.update(`${file}\0${contents.length}\0`).update(contents);
    bytes += contents.length;
  }
  const version = digest.digest('hex').slice(0, 12);
  return {
    folder,
    files,
    model: {
      // Named by its contents: an address never changes its meaning, whatever caches hold it.
      path: `models/${id}-${version}/`,
      bytes,
      manifest: trained
        ? { name: 'Pocket', ...(await readManifest(folder)) }
        : { name: 'Tiny', randomWeights: true, defaults: { steps: 4, guidanceScale: 1 } },
    },
  };
}

/** What the page should know before it reads the model's folder; the vocabulary can wait. */
async function readManifest(folder: string): Promise<ModelManifest> {
  const json = async (name: string): Promise<unknown> =>
    existsSync(join(folder, name)) ? JSON.parse(await readFile(join(folder, name), 'utf8')) : {};
  const { vocabulary: _, ...manifest } = (await json('calotype.json')) as ModelManifest;
  const index = (await json('model_index.json')) as Record<string, unknown>;
  const own = (index['_generation_defaults'] ?? {}) as Record<string, number | undefined>;
  const { num_inference_steps: steps, guidance_scale: guidanceScale } = own;
  const defaults = {
    ...(steps !== undefined && { steps }),
    ...(guidanceScale !== undefined && { guidanceScale }),
    ...manifest.defaults,
  };
  return { ...manifest, defaults };
}

async function readCard(): Promise<ModelCard> {
  const readme = join(pocketDir, 'README.md');
  const licences = join(pocketDir, 'LICENSES');
  const trained = existsSync(join(pocketDir, 'model', 'model_index.json'));
  if (!trained) return { licences: [] };
  const names = existsSync(licences) ? (await readdir(licences)).toSorted() : [];
  return {
    ...(existsSync(readme) && { html: cardHtml(await readFile(readme, 'utf8')) }),
    licences: await Promise.all(
      names.map(async (name) => {
        const text = await readFile(join(licences, name), 'utf8');
        return name.endsWith('.md')
          ? { name: name.replace(/\.md$/, ''), html: cardHtml(text) }
          : { name: name.replace(/\.txt$/, ''), text };
      }),
    ),
  };
}

/** The card inside a dialog: its headings start below the dialog's own, and what the page does not carry is left out. */
function cardHtml(markdown: string): string {
  const renderer = new marked.Renderer();
  const heading = renderer.heading.bind(renderer);
  const link = renderer.link.bind(renderer);
  renderer.heading = (token) => heading({ ...token, depth: Math.min(6, token.depth + 2) });
  renderer.image = ({ text }) => (text ? `<em>${text}</em>` : '');
  renderer.link = (token) => (/^https?:/.test(token.href) ? link(token) : token.text);
  const html = marked.parse(markdown, { renderer, async: false });
  // Wide tables scroll inside their box, by keyboard too.
  let tables = 0;
  return html
    .replaceAll(/<th[^>]*><\/th>/g, '<td></td>')
    .replaceAll('<table>', () => {
      tables++;
      return `<div class="table" tabindex="0" role="region" aria-label="Table ${tables}"><table>`;
    })
    .replaceAll('</table>', '</table></div>');
}
