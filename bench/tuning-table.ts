import type { TuningReport } from '@calotype/core';

/** What was timed for each product and attention of a graph, the fastest first. */
export function tuningTable({ measured, left, problems }: TuningReport): string {
  const changed = problems.filter(({ taken }) => taken > 0).length;
  const head = `  measured ${measured} kinds of products and attentions, ${left} left for lack of time, ${changed} changed`;
  const lines = problems.map(({ problem, count, tried, taken }) => {
    const times = tried
      .map(({ kernels, milliseconds }, i) => {
        const mark = `${i === taken ? '>' : ' '}${i === 0 ? '*' : ' '}`;
        return { milliseconds, text: `      ${mark} ${(1000 * milliseconds).toFixed(1)} us ${kernels}` };
      })
      .toSorted((a, b) => a.milliseconds - b.milliseconds)
      .map(({ text }) => text);
    return [`    ${count} x ${problem} (* by the rules, > taken)`, ...times].join('\n');
  });
  return [head, ...lines].join('\n');
}
