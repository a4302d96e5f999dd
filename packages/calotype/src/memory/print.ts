import type { PipelinePlan } from './plan.ts';

/** A plan in words: a line a component, what it comes to, and what to do. */
export function printPipelinePlan(plan: PipelinePlan): string {
  const { width, height, batch, components, memoryBudget, fit } = plan;
  const lines = components.map(({ component, footprint, problem, weights }) => {
    const what = weights === 'as-stored' ? component : `${component} (${weights})`;
    if (!footprint) return `${what}: ${problem}`;
    const { weightBytes, intermediateBytes, peakBytes } = footprint;
    return `${what}: weights ${megabytes(weightBytes)}, intermediates ${megabytes(intermediateBytes)}, peak ${megabytes(peakBytes)}`;
  });
  const verdict = {
    resident: 'All stages fit beside each other.',
    swapped: 'One stage at a time fits.',
    none: 'It does not fit.',
  }[fit];
  const budget = memoryBudget === undefined ? 'no budget' : `budget ${megabytes(memoryBudget)}`;
  return [
    `${batch} of ${width} × ${height}: ${megabytes(plan.fetchBytes)} to fetch, ${megabytes(plan.residentBytes)} resident, peak ${megabytes(plan.peakBytes)} (${megabytes(plan.swappedPeakBytes)} one stage at a time), ${budget}`,
    ...lines,
    verdict,
    ...plan.advice.map(
      ({ message, peakBytes, swappedPeakBytes, fit: then }) =>
        `- ${message} Peak ${megabytes(peakBytes)} (${megabytes(swappedPeakBytes)} one stage at a time): ${then}`,
    ),
  ].join('\n');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
