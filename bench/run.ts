import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { Precision } from '@calotype/core';
import { hostPages, type PageHost } from '@calotype/dev/browser-page';
import { isFlagSet, type FlagSet } from '@calotype/dev/chromium';
import type { Page } from '@calotype/dev/playwright';
import { groups, jobsFor, messageOf, type Job, type JobContext, type JobOptions } from './jobs.ts';
import { makeFullSizeFolder } from './made-folder.ts';
import { profileTable } from './profile-table.ts';
import { describe, rowsTable } from './report.ts';
import { describeRequests, requestsTable } from './requests-report.ts';
import type { RequestsRow } from './requests-types.ts';
import { Results, type Machine } from './results.ts';
import { tuningTable } from './tuning-table.ts';
import { engines, type BenchPage, type EngineName, type Row } from './types.ts';

declare const calotypeBench: BenchPage;

const usage = `usage: npm run bench -- [options]
  --only NAME        only this scenario, group of them (${groups.join(', ')}) or pattern ('unet-*'); may be given again
  --engine NAME      only calotype or onnxruntime-web; may be given again
  --flags SET        stock|f16|experimental|software; may be given again (all but software)
  --list             names of all scenarios, measuring nothing
  --append           go on with the latest.json that is there; a row takes the place of an older one of the same
                     scenario, engine and flags
  --missing          --append, and only what that file has no measurement of
  --add FILE         add the rows of a peer (bench/peers/pytorch.py --out FILE), or of a latest.json that was made
                     elsewhere, measuring nothing
  --precision P      f32|f16|packed-f16 (f16 where the adapter has it, else packed-f16)
  --runs N           measured runs of each (15)
  --seconds N        requests: time for each number of them (3)
  --limit S          most seconds of a scenario, where its own limit is longer
  --profile          GPU time by kernel too
  --tune S           graphs: measure kernels for so many seconds first, and take the fastest
  --rules JSON       graphs: in place of the kernels' own rules (bench/page/rules.ts)
  --variants RE      kernels: also variants whose names match, for example . or ^64x160
  --fixtures DIR     folder that holds full-size/ (the repository's own fixtures)
  --pocket DIR       folder of the model Pocket (the repository's own)
  --adapter NAME     name of the results' folder, where neither driver nor browser tell the card's model
  --out DIR          where results go (bench/results)`;

export interface Places {
  pageDir: string;
  fixtures: string;
  pocket: string;
  out: string;
}

/** The `bench` command. Resolves to its exit code. */
export async function main(args: string[], places: Places): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string', multiple: true },
      engine: { type: 'string', multiple: true },
      flags: { type: 'string', multiple: true, default: ['stock', 'f16', 'experimental'] },
      list: { type: 'boolean', default: false },
      append: { type: 'boolean', default: false },
      missing: { type: 'boolean', default: false },
      add: { type: 'string' },
      precision: { type: 'string' },
      runs: { type: 'string', default: '15' },
      seconds: { type: 'string', default: '3' },
      limit: { type: 'string' },
      profile: { type: 'boolean', default: false },
      tune: { type: 'string' },
      rules: { type: 'string' },
      variants: { type: 'string' },
      fixtures: { type: 'string', default: places.fixtures },
      pocket: { type: 'string', default: places.pocket },
      adapter: { type: 'string' },
      out: { type: 'string', default: places.out },
      help: { type: 'boolean', default: false },
    },
  });
  const sets = values.flags.filter((flags): flags is FlagSet => isFlagSet(flags));
  if (values.help || sets.length < values.flags.length) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  if (values.add !== undefined) {
    const machine = { adapter: values.adapter ?? (await cardOf())?.adapter ?? 'unknown' };
    return addPeer(values.add, await Results.open(values.out, machine, true));
  }
  const chosen = new Map<FlagSet, Job[]>();
  for (const flags of sets) {
    chosen.set(
      flags,
      jobsFor(flags).filter((job) => isChosen(job, flags, values.only, values.engine)),
    );
  }
  if (values.list) {
    for (const [flags, jobs] of chosen)
      for (const job of jobs) console.log(`${flags} ${job.group} ${job.scenario} ${job.engine}`);
    return 0;
  }
  const unknown = (values.only ?? []).filter(
    (name) => !sets.some((flags) => jobsFor(flags).some(named(name))),
  );
  if (unknown.length > 0) {
    console.error(`Unknown: ${unknown.join(', ')}. --list names all.`);
    return 2;
  }

  const made = await mkdtemp(join(tmpdir(), 'calotype-made-'));
  let results: Results | undefined;
  let failed = 0;
  try {
    for (const [flags, jobs] of chosen) {
      if (jobs.length === 0) continue;
      await using runner = await Runner.start(flags, { ...places, ...values, made });
      const found = await runner.adapter();
      const card = flags === 'software' ? undefined : await cardOf();
      const machine: Machine = {
        ...card,
        adapter: values.adapter ?? card?.adapter ?? found.name,
        browser: found.browser,
      };
      results ??= await Results.open(values.out, machine, values.append || values.missing);
      const options: JobOptions = {
        flags,
        precision: (values.precision as Precision | undefined) ?? found.precision,
        runs: Number(values.runs),
        seconds: Number(values.seconds),
        profile: values.profile,
        variants: values.variants,
        ...(values.tune !== undefined && { tune: Number(values.tune) }),
        rules: values.rules,
      };
      for (const job of jobs) {
        if (values.missing && results.has({ ...job, flags })) continue;
        // What is being measured when the time is up still ends.
        const longest = job.limitSeconds + 2 * (options.tune ?? 0);
        const limit = Math.min(longest, Number(values.limit ?? Infinity));
        failed += await runner.measure(job, options, limit, results);
      }
    }
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  if (results) {
    const { rows, requests } = results.report;
    if (rows.length > 0) console.log(rowsTable(rows));
    if (requests.length > 0) console.log(requestsTable(requests));
  }
  return failed > 0 ? 1 : 0;
}

/** A browser under one set of flags, and what is open in it. */
class Runner implements AsyncDisposable {
  readonly #host: PageHost;
  readonly #made: string;
  readonly #fixtures: string;
  /** Pages that jobs share, by name. */
  readonly #shared = new Map<string, Page>();
  /** Pages of the job under way. */
  #own: Page[] = [];

  private constructor(host: PageHost, made: string, fixtures: string) {
    this.#host = host;
    this.#made = made;
    this.#fixtures = fixtures;
  }

  static async start(
    flags: FlagSet,
    { pageDir, fixtures, pocket, made }: Places & { made: string },
  ): Promise<Runner> {
    const mounts = { '/fixtures/': fixtures, '/pocket/': pocket, '/made/': made };
    return new Runner(await hostPages({ pageDir, mounts, flags }), made, fixtures);
  }

  async adapter(): Promise<{ name: string; precision: Precision; browser: string }> {
    const page = await this.#open();
    const found = await page.evaluate(() => calotypeBench.adapter());
    const browser = `Chromium ${page.context().browser()?.version() ?? 'unknown'}`;
    await page.close();
    return { ...found, browser };
  }

  /** Measures one job and keeps what came of it. Resolves to how many results are wrong or missing. */
  async measure(job: Job, options: JobOptions, limitSeconds: number, results: Results): Promise<number> {
    const made = new Date().toISOString();
    const { scenario, engine } = job;
    try {
      const {
        measurements = [],
        requests,
        said = [],
        wrong = [],
      } = await within(limitSeconds, job.run(this.#context(options)), () => this.#phase());
      await this.#closeOwn();
      for (const { row, profile, tuning } of measurements) {
        console.log(describe({ ...row, made }));
        if (tuning) console.log(tuningTable(tuning));
        if (profile) console.log(profileTable(profile));
        await results.add({ ...row, made });
      }
      if (requests) {
        console.log(describeRequests(requests));
        await results.addRequests(requests);
      }
      if (measurements.length === 0) for (const text of said) console.log(text);
      for (const text of wrong) console.log(`${scenario} ${options.flags}: wrong, ${text}`);
      return wrong.length;
    } catch (error) {
      const row: Row = { scenario, engine, flags: options.flags, error: messageOf(error), made };
      console.log(describe(row));
      await results.add(row);
      await this.#endBrowser();
      // That a peer cannot run something is a result.
      return engine === 'calotype' ? 1 : 0;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host[Symbol.asyncDispose]();
  }

  #context(options: JobOptions): JobContext {
    return {
      options,
      page: async (shared) => {
        const kept = shared === undefined ? undefined : this.#shared.get(shared);
        if (kept && !kept.isClosed()) return kept;
        // One model at a time.
        await this.#closeShared();
        const page = await this.#open();
        if (shared === undefined) this.#own.push(page);
        else this.#shared.set(shared, page);
        return page;
      },
      coldPage: async () => {
        await this.#endBrowser();
        const page = await this.#open();
        this.#own.push(page);
        return page;
      },
      within: (seconds, page, work) => within(seconds, work, () => phaseOf(page)),
      endBrowser: () => this.#endBrowser(),
      makeFolder: async (model) => {
        await this.#closeShared();
        const page = await this.#open();
        this.#own.push(page);
        await makeFullSizeFolder(page, join(this.#made, model), this.#fixtures);
        await page.close();
      },
    };
  }

  #open(): Promise<Page> {
    return this.#host.open('index.html', (line) => {
      // Models are asked for files that need not be there.
      if (!line.startsWith('Failed to load resource')) console.error(line);
    });
  }

  async #phase(): Promise<string> {
    const pages = [...this.#own, ...this.#shared.values()].filter((page) => !page.isClosed());
    return (await Promise.all(pages.map(phaseOf))).join(', ');
  }

  async #closeOwn(): Promise<void> {
    const pages = this.#own;
    this.#own = [];
    await Promise.all(pages.map((page) => page.close()));
  }

  async #closeShared(): Promise<void> {
    const pages = [...this.#shared.values()];
    this.#shared.clear();
    await Promise.all(pages.map((page) => page.close()));
  }

  async #endBrowser(): Promise<void> {
    this.#own = [];
    this.#shared.clear();
    await this.#host.endBrowser();
  }
}

async function phaseOf(page: Page): Promise<string> {
  return within(
    2,
    page.evaluate(() => calotypeBench.phase),
  ).catch(() => 'what cannot be said');
}

/** What work results in, or an error that says what it was at when the time was over. */
async function within<T>(seconds: number, work: Promise<T>, phase?: () => Promise<string>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), seconds * 1000);
  });
  work.catch(() => {});
  const first = await Promise.race([work, late]).finally(() => clearTimeout(timer));
  if (first !== 'late') return first;
  throw new Error(`took more than ${seconds} s, and was at: ${(await phase?.()) ?? 'unknown'}`);
}

function isChosen(
  job: Job,
  flags: FlagSet,
  only: readonly string[] | undefined,
  wanted: readonly string[] | undefined,
): boolean {
  if (wanted && !wanted.includes(job.engine)) return false;
  if (only) return only.some((name) => named(name)(job));
  // Elsewhere timestamps are rounded to more than kernels take.
  return job.group !== 'kernels' || flags === 'experimental' || flags === 'software';
}

/** Whether a job is one that `name` means. */
function named(name: string): (job: Job) => boolean {
  const pattern = new RegExp(
    `^${name.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*')}$`,
  );
  return ({ scenario, group }) => group === name || pattern.test(scenario);
}

async function addPeer(file: string, results: Results): Promise<number> {
  const { rows, requests = [] } = JSON.parse(await readFile(file, 'utf8')) as {
    rows: (Row & { made?: string })[];
    requests?: RequestsRow[];
  };
  const known: readonly string[] = engines satisfies readonly EngineName[];
  const strange = rows.filter(({ engine, scenario }) => !known.includes(engine) || !scenario);
  if (strange.length > 0) {
    console.error(`${file}: ${strange.length} rows are none that the bench knows.`);
    return 2;
  }
  const made = new Date().toISOString();
  await results.add(...rows.map((row) => ({ ...row, made: row.made ?? made })));
  for (const row of requests) await results.addRequests(row);
  console.log(rowsTable(results.report.rows));
  return 0;
}

/** The card and its driver as NVIDIA's tool tells them; undefined where there is no such tool. */
async function cardOf(): Promise<{ adapter: string; driver: string } | undefined> {
  const query = ['--query-gpu=name,driver_version', '--format=csv,noheader'];
  const found = await promisify(execFile)('nvidia-smi', query).catch(() => undefined);
  const [name, driver] = found?.stdout.split('\n')[0]?.split(', ') ?? [];
  if (!name || !driver) return undefined;
  // 'NVIDIA H100 80GB HBM3' is an nvidia-h100.
  const words = name.split(' ').filter((word) => !/^(\d+GB|HBM\d\w*|PCIe|SXM\d?)$/.test(word));
  return { adapter: words.join('-').toLowerCase(), driver };
}
