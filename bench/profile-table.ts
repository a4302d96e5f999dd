import type { DispatchTime } from '@calotype/core';

/** GPU time by kernel: share of the run, dispatches, and what rates were reached. */
export function profileTable(times: readonly DispatchTime[]): string {
  const total = times.reduce((sum, { microseconds }) => sum + microseconds, 0);
  const kernels = new Map<string, DispatchTime[]>();
  for (const time of times) kernels.set(time.kernel, [...(kernels.get(time.kernel) ?? []), time]);
  const sum = (list: readonly DispatchTime[], field: 'microseconds' | 'flops' | 'bytes'): number =>
    list.reduce((value, time) => value + time[field], 0);
  const lines = [...kernels]
    .toSorted(([, a], [, b]) => sum(b, 'microseconds') - sum(a, 'microseconds'))
    .map(([kernel, list]) => {
      const microseconds = sum(list, 'microseconds');
      const teraflops = sum(list, 'flops') / microseconds / 1e6;
      const gigabytes = sum(list, 'bytes') / microseconds / 1e3;
      return [
        `${((100 * microseconds) / total).toFixed(1)} %`.padStart(8),
        `${(microseconds / 1000).toFixed(3)} ms`.padStart(12),
        `${list.length}`.padStart(5),
        `${teraflops.toFixed(1)} TFLOP/s`.padStart(15),
        `${gigabytes.toFixed(0)} GB/s`.padStart(11),
        `  ${kernel}`,
      ].join('');
    });
  return [`  GPU time ${(total / 1000).toFixed(2)} ms in ${times.length} dispatches`, ...lines].join('\n');
}
