import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decompress } from 'fzstd';
import { unpackTar } from 'modern-tar';

/** Folder the fixtures of this repository are unpacked to; there after {@link unpackFixtures}. */
export const fixturesDir: string = fileURLToPath(new URL('../../../.cache/fixtures', import.meta.url));

const archivesDir = fileURLToPath(new URL('../fixtures', import.meta.url));

/** Thousands of small files: they stay a tar, which `unpackNodeTests` reads at once. */
const keptWhole = 'onnx-node.tar.zst';

/**
 * Unpacks every `fixtures/*.tar.zst` of this package ({@link keptWhole} no further than to its tar), unless that was done
 * before, and returns {@link fixturesDir}. Vitest does it before the first test of a run; scripts call it themselves.
 */
export async function unpackFixtures(): Promise<string> {
  const names = (await readdir(archivesDir)).filter((name) => name.endsWith('.tar.zst')).toSorted();
  const archives = await Promise.all(names.map((name) => readFile(join(archivesDir, name))));
  const digest = createHash('sha256').update(keptWhole);
  for (const archive of archives) digest.update(archive);
  const stamp = digest.digest('hex');
  const stampFile = join(fixturesDir, '.stamp');
  if ((await readFile(stampFile, 'utf8').catch(() => '')) === stamp) return fixturesDir;

  // Another process may do the same at the same time: unpack beside, then swap.
  const partial = `${fixturesDir}.${process.pid}`;
  for (const [k, archive] of archives.entries()) {
    if (names[k] === keptWhole) await writeFile(join(partial, 'onnx-node.tar'), decompress(archive));
    else await unpack(archive, partial);
  }
  await writeFile(join(partial, '.stamp'), stamp);
  await rm(fixturesDir, { recursive: true, force: true });
  await rename(partial, fixturesDir).catch(() => rm(partial, { recursive: true, force: true }));
  return fixturesDir;
}

async function unpack(archive: Uint8Array, folder: string): Promise<void> {
  for (const { header, data } of await unpackTar(decompress(archive))) {
    if (header.type !== 'file' || !data) continue;
    if (header.name.split('/').includes('..'))
      throw new Error(`Archive entry '${header.name}' leaves its folder.`);
    const path = join(folder, header.name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, data);
  }
}
