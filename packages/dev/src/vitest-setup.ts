import { join } from 'node:path';
import { unpackFixtures } from './fixtures.ts';
import { writeMicroSd } from './micro-sd.ts';

/** Vitest's global set-up: what every test may count on. */
export default async function setup(): Promise<void> {
  const fixtures = await unpackFixtures();
  await writeMicroSd(join(fixtures, 'micro-sd'), join(fixtures, 'tiny-sd'));
}
