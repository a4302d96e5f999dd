import type { BenchOptions, Measured } from '../types.ts';

/** What every row of this library begins with. */
export function ownRow(
  { name }: { name: string },
  { flags, precision }: BenchOptions,
): Pick<Measured, 'scenario' | 'engine' | 'flags' | 'precision'> {
  return { scenario: name, engine: 'calotype', flags, precision };
}
