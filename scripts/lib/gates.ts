import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { bundleSizes, DEMO_LIMIT, demoSize } from './bundle-size.ts';
import { print, root, runNode, runTool } from './run.ts';

/** What one gate of `npm test` found. */
export interface Outcome {
  passed: number;
  failed: number;
  skipped?: number;
  /** Lines repeated under the final table, so that they are not lost above. */
  notes?: string[];
}

export interface Gate {
  name: string;
  run(): Promise<Outcome>;
}

const resultsDir = join(root, 'test-results');
const demo = join(root, 'examples', 'demo');
/** Whether this process has built the demo page. */
let demoIsBuilt = false;

/**
 * Every gate in the order `npm test` runs them, the quick ones first. Those of a row run at the same time, as the first of
 * each keeps one core busy.
 */
export const gates: Gate[][] = [
  [
    { name: 'format', run: () => oneCheck('prettier', ['--check', '--log-level', 'warn', '.']) },
    { name: 'types', run: types },
    // Where it has to be installed, that is a minute of waiting for the disk and the network.
    { name: 'browser', run: () => oneCheck('tsx', [join('scripts', 'lib', 'browser.ts')]) },
  ],
  [{ name: 'lint', run: () => oneCheck('oxlint', ['--type-aware', '--deny-warnings']) }],
  [{ name: 'unit', run: () => vitest('unit') }],
  [{ name: 'gpu', run: () => vitest('gpu') }],
  [
    { name: 'build', run: build },
    { name: 'unused', run: () => oneCheck('knip', ['--no-progress']) },
  ],
  [{ name: 'size', run: size }],
  [{ name: 'e2e', run: endToEnd }],
];

/** Folders of the workspace that hold a package.json. */
export function workspaceFolders(): string[] {
  const under = (folder: string): string[] =>
    existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}`) : [];
  return [...under('packages'), ...under('examples'), 'bench', 'e2e'].filter((folder) =>
    existsSync(join(root, folder, 'package.json')),
  );
}

/** Packages for npm: those with a build configuration. */
export function publishedFolders(): string[] {
  return workspaceFolders().filter((folder) => existsSync(join(root, folder, 'tsdown.config.ts')));
}

/**
 * Builds the publishable packages, where publint and attw check each as it would be packed, and the demo page as static
 * files.
 */
export async function build(): Promise<Outcome> {
  const outcome = { passed: 0, failed: 0 };
  for (const folder of publishedFolders()) {
    const code = await runTool('tsdown', [], { cwd: join(root, folder) });
    count(outcome, code === 0);
    if (code !== 0) print(`build of ${folder} failed`);
  }
  const code = await runTool('vite', ['build', '--logLevel', 'warn'], { cwd: demo });
  demoIsBuilt = code === 0;
  count(outcome, demoIsBuilt);
  if (demoIsBuilt) print(`The demo page is in ${relative(root, join(demo, 'dist'))}`);
  return outcome;
}

async function oneCheck(tool: string, args: string[]): Promise<Outcome> {
  return count({ passed: 0, failed: 0 }, (await runTool(tool, args)) === 0);
}

// TypeScript's native compiler: several times as quick. The other one stays for the tools that call its API.
const compiler = join(root, 'node_modules', 'typescript-native', 'bin', 'tsc');

/** Checks the types of every package: its sources alone, as published, and together with its tests. */
export async function types(): Promise<Outcome> {
  const projects = ['.', ...workspaceFolders()].flatMap((folder) =>
    ['tsconfig.json', 'tsconfig.build.json']
      .map((file) => join(folder, file))
      .filter((file) => existsSync(join(root, file))),
  );
  const outcome = { passed: 0, failed: 0 };
  const worker = async (): Promise<void> => {
    for (let project = projects.shift(); project; project = projects.shift()) {
      const ok = (await runNode(compiler, ['--noEmit', '--pretty', 'false', '-p', project])) === 0;
      if (!ok) print(`${project}: type errors`);
      count(outcome, ok);
    }
  };
  await Promise.all([worker(), worker()]);
  return outcome;
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    name: string;
    status: string;
    /** What went wrong outside of tests: on import, before or after all of them. */
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages?: string[] }[];
  }[];
}

async function vitest(project: 'unit' | 'gpu'): Promise<Outcome> {
  const file = join(resultsDir, `${project}.json`);
  await mkdir(resultsDir, { recursive: true });
  await rm(file, { force: true });
  const reporters = ['--reporter', 'default', '--reporter', 'json', '--outputFile.json', file];
  const code = await runTool('vitest', ['run', '--project', `${project}*`, ...reporters]);
  if (!existsSync(file)) return { passed: 0, failed: 1, notes: [`${project}: vitest wrote no report`] };
  const report = JSON.parse(await readFile(file, 'utf8')) as VitestReport;
  const tests = report.testResults.flatMap((result) => result.assertionResults);
  const skippedTests = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');
  // What fails on import, or before the first test, leaves no test that failed.
  const brokenFiles = report.testResults.filter(
    (result) =>
      result.status === 'failed' && !result.assertionResults.some(({ status }) => status === 'failed'),
  );
  let failed = report.numFailedTests + brokenFiles.length;
  if (code !== 0 && failed === 0) failed = 1;

  const notes = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => {
        const [reason] = (failureMessages?.[0] ?? '').split('\n');
        return `failed: ${relative(root, name)}: ${fullName}: ${reason}`;
      }),
  );
  for (const { name, message } of brokenFiles) {
    notes.push(`failed: ${relative(root, name)} before its tests: ${message.split('\n')[0]}`);
  }
  const needsHalves = (name: string): boolean => project === 'gpu' && /\bf16\b|shader-f16/.test(name);
  const half = skippedTests.filter(({ fullName }) => needsHalves(fullName)).length;
  if (half) notes.push(`f16: ${half} skipped (no shader-f16 on this adapter)`);
  for (const { fullName } of skippedTests) {
    if (!needsHalves(fullName)) notes.push(`skipped: ${fullName}`);
  }
  return { passed: report.numPassedTests, failed, skipped: skippedTests.length, notes };
}

async function size(): Promise<Outcome> {
  const rows = await bundleSizes(
    publishedFolders().filter((folder) => existsSync(join(root, folder, 'dist'))),
  );
  const outcome = { passed: 0, failed: 0 };
  const dist = join(demo, 'dist');
  if (!rows.length || !existsSync(dist)) return { ...outcome, notes: ['size: nothing is built'] };
  for (const { name, minified, gzipped } of rows) {
    print(`${name.padEnd(24)} ${kilobytes(minified)} minified  ${kilobytes(gzipped)} gzipped`);
  }
  const { first, later } = await demoSize(dist);
  const sizes = `${kilobytes(first.minified)} minified  ${kilobytes(first.gzipped)} gzipped`;
  print(`${'demo page'.padEnd(24)} ${sizes}, and ${kilobytes(later).trim()} when it is wanted`);
  count(outcome, first.gzipped <= DEMO_LIMIT);
  if (first.gzipped <= DEMO_LIMIT) return outcome;
  const over = `${kilobytes(first.gzipped).trim()} gzipped, may have ${kilobytes(DEMO_LIMIT).trim()}`;
  return { ...outcome, notes: [`size: the demo page has ${over}`] };
}

interface PlaywrightSuite {
  suites?: PlaywrightSuite[];
  specs: { file: string; title: string; ok: boolean }[];
}

interface PlaywrightReport {
  stats: { expected: number; unexpected: number; flaky: number; skipped: number };
  suites: PlaywrightSuite[];
}

function failedSpecs({ specs, suites = [] }: PlaywrightSuite): string[] {
  const own = specs.filter(({ ok }) => !ok).map(({ file, title }) => `failed: e2e/${file}: ${title}`);
  return [...own, ...suites.flatMap(failedSpecs)];
}

async function endToEnd(): Promise<Outcome> {
  const folder = join(root, 'e2e');
  const specs = readdirSync(folder).filter((name) => name.endsWith('.spec.ts'));
  if (!specs.length) return { passed: 0, failed: 0, notes: ['e2e: there are no tests yet'] };
  const file = join(resultsDir, 'e2e.json');
  await rm(file, { force: true });
  const code = await runTool(
    'playwright',
    ['test', '--config', 'e2e/playwright.config.ts', '--reporter', 'list,json'],
    { env: { PLAYWRIGHT_JSON_OUTPUT_FILE: file, ...(demoIsBuilt && { DEMO_IS_BUILT: 'yes' }) } },
  );
  if (!existsSync(file)) return { passed: 0, failed: 1, notes: ['e2e: playwright wrote no report'] };
  const { stats, suites } = JSON.parse(readFileSync(file, 'utf8')) as PlaywrightReport;
  const failed = stats.unexpected + stats.flaky;
  return {
    passed: stats.expected,
    failed: code !== 0 && failed === 0 ? 1 : failed,
    skipped: stats.skipped,
    notes: suites.flatMap(failedSpecs),
  };
}

function count(outcome: Outcome, ok: boolean): Outcome {
  if (ok) outcome.passed += 1;
  else outcome.failed += 1;
  return outcome;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`.padStart(10);
}
