import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { requestsChart, requestsTable } from './requests-report.ts';
import type { RequestsRow } from './requests-types.ts';
import { rowsTable } from './report.ts';
import type { Row, RowKey } from './types.ts';

/** What was measured on, as far as it is known. */
export interface Machine {
  /** Card, which is the folder's name too. */
  adapter: string;
  driver?: string;
  browser?: string;
}

/** `latest.json` */
export interface Report extends Machine {
  made: string;
  rows: Row[];
  requests: RequestsRow[];
}

/**
 * Rows of one card, written to its folder's `latest.json` as they come: a run that is ended early loses none. A row takes
 * the place of an older one of the same scenario, engine and flags.
 */
export class Results {
  readonly #folder: string;
  readonly #report: Report;

  private constructor(folder: string, report: Report) {
    this.#folder = folder;
    this.#report = report;
  }

  /** @param append goes on with the `latest.json` that is there; else that is kept beside, under the time it was made */
  static async open(out: string, machine: Machine, append: boolean): Promise<Results> {
    const folder = join(out, machine.adapter);
    await mkdir(folder, { recursive: true });
    const latest = join(folder, 'latest.json');
    const before = await stat(latest).catch(() => undefined);
    if (before && append) {
      const found = JSON.parse(await readFile(latest, 'utf8')) as Partial<Report>;
      return new Results(folder, { ...emptyReport(machine), ...found, ...machine });
    }
    if (before)
      await rename(latest, join(folder, `${before.mtime.toISOString().replaceAll(/[:.]/g, '-')}.json`));
    return new Results(folder, emptyReport(machine));
  }

  get report(): Readonly<Report> {
    return this.#report;
  }

  /** Whether there is a measurement of it. */
  has(key: RowKey): boolean {
    const { rows, requests } = this.#report;
    return (
      rows.some((row) => row.error === undefined && keyOf(row) === keyOf(key)) ||
      requests.some(({ name, engine, flags }) => keyOf({ scenario: name, engine, flags }) === keyOf(key))
    );
  }

  async add(...rows: Row[]): Promise<void> {
    for (const row of rows) put(this.#report.rows, row, keyOf);
    await this.#save();
  }

  async addRequests(row: RequestsRow): Promise<void> {
    put(this.#report.requests, row, ({ name, flags }) => `${name} ${flags}`);
    // It may have failed before.
    const { name: scenario, engine, flags } = row;
    this.#report.rows = this.#report.rows.filter(
      (other) => keyOf(other) !== keyOf({ scenario, engine, flags }),
    );
    await this.#save();
  }

  async #save(): Promise<void> {
    const { rows, requests } = this.#report;
    this.#report.made = new Date().toISOString();
    const write = (name: string, text: string): Promise<void> => writeFile(join(this.#folder, name), text);
    // Whole or not at all, whenever the run is ended.
    await write('latest.json.part', `${JSON.stringify(this.#report, null, 2)}\n`);
    await rename(join(this.#folder, 'latest.json.part'), join(this.#folder, 'latest.json'));
    const tables = [rows.length > 0 && rowsTable(rows), requests.length > 0 && requestsTable(requests)];
    await write('latest.md', `${tables.filter(Boolean).join('\n\n')}\n`);
    if (requests.length > 0) await write('requests.svg', requestsChart(requests));
  }
}

export function keyOf({ scenario, engine, flags }: RowKey): string {
  return `${scenario} ${engine} ${flags}`;
}

function emptyReport(machine: Machine): Report {
  return { made: '', ...machine, rows: [], requests: [] };
}

function put<T>(list: T[], item: T, key: (item: T) => string): void {
  const index = list.findIndex((other) => key(other) === key(item));
  if (index < 0) list.push(item);
  else list[index] = item;
}
