import { SourceError } from '../errors.ts';
import type { FetchOptions } from './fetch.ts';
import { normalizePath } from './path.ts';
import type { ByteSource, FileStore } from './source.ts';
import { urlSource } from './url-source.ts';

/**
 * Files below `baseUrl`, which is taken as a folder with or without a '/' at its end; its query (a token, say) goes
 * with every request. Relative to the page's address where there is one.
 */
export function urlStore(baseUrl: string | URL, options: FetchOptions = {}): FileStore {
  const base = new URL(baseUrl, globalThis.location?.href);
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  const sources = new Map<string, ByteSource>();
  const sourceOf = (path: string): ByteSource => {
    const file = normalizePath(path);
    let source = sources.get(file);
    if (source === undefined) {
      source = urlSource(fileUrl(base, file), options);
      sources.set(file, source);
    }
    return source;
  };
  return {
    // Absence shows at the first read: asking beforehand would cost a round trip a file.
    open: async (path) => sourceOf(path),
    async has(path) {
      try {
        await sourceOf(path).size();
        return true;
      } catch (error) {
        if (error instanceof SourceError && (error.status === 404 || error.status === 410)) return false;
        throw error;
      }
    },
  };
}

/** URL of the file `path`, a normalized one, below a folder. */
export function fileUrl(folder: URL, path: string): string {
  const url = new URL(folder);
  url.pathname += path.split('/').map(encodeURIComponent).join('/');
  return url.href;
}
