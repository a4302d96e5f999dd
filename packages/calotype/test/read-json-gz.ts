import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Reads a packed text fixture. */
export function readTextGz(name: string): string {
  return gunzipSync(readFileSync(new URL(`./fixtures/${name}`, import.meta.url))).toString('utf8');
}

/** Reads a packed JSON fixture. */
export function readJsonGz(name: string): unknown {
  return JSON.parse(readTextGz(name));
}
