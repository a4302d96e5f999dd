import { bundledModel } from 'virtual:bundled-model';
import type { ModelManifest } from './bundled.ts';

/** A model that the visitor may use. */
export type ModelChoice =
  | { kind: 'bundled'; name: string }
  | { kind: 'url'; name: string; url: string }
  | { kind: 'files'; name: string; files: Readonly<Record<string, Blob>> };

/** The model beside this page. */
export const bundled: ModelChoice = { kind: 'bundled', name: bundledModel.manifest.name ?? 'Default' };

/** What to hand to the runtime. */
export function sourceOf(choice: ModelChoice): string | Readonly<Record<string, Blob>> {
  switch (choice.kind) {
    case 'bundled':
      return new URL(bundledModel.path, document.baseURI).href;
    case 'url':
      return choice.url;
    case 'files':
      return choice.files;
  }
}

/** What is known of a model before its folder is read. */
export function manifestOf(choice: ModelChoice): ModelManifest {
  return choice.kind === 'bundled' ? bundledModel.manifest : {};
}

/** Whether a model comes from here: others are not fetched before the visitor asks for a picture. */
export function isOwn(choice: ModelChoice): boolean {
  return choice.kind !== 'url' || new URL(choice.url).origin === location.origin;
}

/** A model at an address, which may be relative to the page. Undefined where it is none. */
export function choiceOfUrl(text: string): ModelChoice | undefined {
  if (!text.trim() || !URL.canParse(text.trim(), document.baseURI)) return undefined;
  const url = new URL(text.trim(), document.baseURI);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return undefined;
  url.hash = '';
  // What people have at hand is often the address of a file in the folder.
  url.pathname = url.pathname.replace(/\/model_index\.json$/, '/');
  const name = decodeURIComponent(url.pathname.split('/').findLast((part) => part !== '') ?? url.host);
  return { kind: 'url', name, url: url.href };
}
