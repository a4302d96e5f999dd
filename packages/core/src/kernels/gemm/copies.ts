import { range } from './problem.ts';

// How the threads of a workgroup share the copying of a tile to workgroup memory.

/** Copies of one group by each thread; the last may be for some threads only. */
export function copies(total: number, threads: number): { guard: string }[] {
  return range(Math.ceil(total / threads)).map((i) => ({
    guard: (i + 1) * threads > total ? `if (${i * threads}u + lane < ${total}u) ` : '',
  }));
}

/**
 * Which row of a tile a thread copies. With four groups to a row, eight neighbouring threads (one bank cycle of 16-byte
 * stores) take rows r and r + 4, whose padded pitches fall on different banks.
 */
export function spread(row: string, groups: number): string {
  return groups === 4 ? `((${row} & ~7u) | ((${row} & 7u) >> 1u) | ((${row} & 1u) << 2u))` : row;
}
