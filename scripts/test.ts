import { parseArgs } from 'node:util';
import { gates, type Outcome } from './lib/gates.ts';

const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } });
const chosen = values.only?.flatMap((names) => names.split(','));
const unknown = chosen?.filter((name) => !gates.some((gate) => gate.name === name));
if (unknown?.length) {
  console.error(
    `No gate is called ${unknown.join(', ')}. There are: ${gates.map(({ name }) => name).join(', ')}.`,
  );
  process.exit(2);
}

const results: { name: string; seconds: number; outcome: Outcome }[] = [];
for (const gate of gates) {
  if (chosen && !chosen.includes(gate.name)) continue;
  console.log(`\n── ${gate.name} ──`);
  const started = performance.now();
  const outcome = await gate.run().catch((error: unknown): Outcome => {
    console.error(error);
    return { passed: 0, failed: 1 };
  });
  const seconds = (performance.now() - started) / 1000;
  results.push({ name: gate.name, seconds, outcome });
  console.log(`── ${gate.name}: ${summary(outcome)}, ${seconds.toFixed(1)} s`);
}

console.log('');
for (const { name, seconds, outcome } of results) {
  console.log(`${name.padEnd(8)} ${seconds.toFixed(1).padStart(7)} s  ${summary(outcome)}`);
}
for (const { outcome } of results) for (const note of outcome.notes ?? []) console.log(note);

const total: Required<Omit<Outcome, 'notes'>> = { passed: 0, failed: 0, skipped: 0 };
for (const { outcome } of results) {
  total.passed += outcome.passed;
  total.failed += outcome.failed;
  total.skipped += outcome.skipped ?? 0;
}
console.log(summary(total));
process.exitCode = total.failed > 0 ? 1 : 0;

function summary({ passed, failed, skipped }: Outcome): string {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`;
}
