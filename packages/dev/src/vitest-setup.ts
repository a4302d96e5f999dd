import { unpackFixtures } from './fixtures.ts';

/** Vitest's global set-up: what every test may count on. */
export default async function setup(): Promise<void> {
  await unpackFixtures();
}
