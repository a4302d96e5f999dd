import { inspect, parseArgs } from 'node:util';
import { gates, type Gate, type Outcome } from './lib/gates.ts';
import { collect, print } from './lib/run.ts';

const { values } = parseArgs({ options: { only: { type: 'string', multiple: true } } });
const chosen = values.only?.flatMap((names) => names.split(','));
const names = gates.flat().map(({ name }) => name);
const unknown = chosen?.filter((name) => !names.includes(name));
if (unknown?.length) {
  console.error(`No gate is called ${unknown.join(', ')}. There are: ${names.join(', ')}.`);
  process.exit(2);
}

interface Result {
  name: string;
  seconds: number;
  outcome: Outcome;
}

const results: Result[] = [];
for (const row of gates) {
  const wanted = row.filter(({ name }) => !chosen || chosen.includes(name));
  results.push(...(await Promise.all(wanted.map(wanted.length > 1 ? passInOnePiece : pass))));
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

async function pass(gate: Gate): Promise<Result> {
  const { name } = gate;
  print(`\n── ${name} ──`);
  const started = performance.now();
  const outcome = await gate.run().catch((error: unknown): Outcome => {
    print(inspect(error));
    return { passed: 0, failed: 1 };
  });
  const seconds = (performance.now() - started) / 1000;
  print(`── ${name}: ${summary(outcome)}, ${seconds.toFixed(1)} s`);
  return { name, seconds, outcome };
}

/** For gates that run beside others: prints all that one says when it is done. */
async function passInOnePiece(gate: Gate): Promise<Result> {
  const { value, output } = await collect(() => pass(gate));
  process.stdout.write(output);
  return value;
}
