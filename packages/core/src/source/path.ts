import { SourceError } from '../errors.ts';

/**
 * A path below a store's root in its one spelling: '/'-separated, without '.' and '..'.
 * Throws `SourceError` for what leaves the root, is absolute, or could mean something else to a file system
 * or a URL (backslash, colon, control characters).
 */
export function normalizePath(path: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  if (/[\u0000-\u001f\u007f\\:]/.test(path)) {
    throw new SourceError(path, 'a path must not hold a backslash, a colon or control characters');
  }
  if (path.startsWith('/')) throw new SourceError(path, 'a path must be relative');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined)
      throw new SourceError(path, 'the path leaves the folder of the model');
  }
  if (parts.length === 0) throw new SourceError(path, 'the path names no file');
  return parts.join('/');
}

/** `location` as seen from the folder of `path`, normalized. Throws as `normalizePath` does. */
export function resolveSibling(path: string, location: string): string {
  if (location.startsWith('/')) throw new SourceError(location, 'a path must be relative');
  if (location === '') throw new SourceError(location, 'the path names no file');
  const file = normalizePath(path);
  return normalizePath(file.slice(0, file.lastIndexOf('/') + 1) + location);
}
