/** Runs before the first measured one: clocks ramp up for about a second. */
const WARM_UP_MS = 1500;

/** Measuring ends after so long, once three runs are in. */
const LONGEST_MS = 12_000;

export interface Times {
  medianMs: number;
  minMs: number;
  maxMs: number;
  runs: number;
}

/** Times `once`, after a warm-up. It resolves to how many milliseconds it took. */
export async function timed(once: () => Promise<number>, runs: number): Promise<Times> {
  const warm = performance.now();
  while (performance.now() - warm < WARM_UP_MS) await once();
  const times: number[] = [];
  const started = performance.now();
  while (times.length < runs && (times.length < 3 || performance.now() - started < LONGEST_MS))
    times.push(await once());
  return summary(times);
}

export function summary(times: readonly number[]): Times {
  const sorted = times.toSorted((a, b) => a - b);
  return { medianMs: median(times), minMs: sorted[0]!, maxMs: sorted.at(-1)!, runs: sorted.length };
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
