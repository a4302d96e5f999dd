/** What the order of requests depends on. */
export interface Ranked {
  /** Higher goes first. */
  priority: number;
  /** Time by which it should be done; `undefined` for none. */
  deadline: number | undefined;
  client: ClientAccount;
  /** Position in the order of arrival. */
  arrival: number;
  /** GPU time that went to requests that came later, because their priority is higher. */
  overtakenMs: number;
}

/**
 * A request that others have overtaken for this long counts as one priority higher, so none waits for ever. Waiting behind
 * its like does not count, or long queues would do away with priorities.
 */
const AGING_MS = 10_000;

/**
 * Which of two requests has the next turn: priority, then the earlier deadline, then the client that has had less of the
 * GPU, then arrival.
 *
 * @returns negative where `a` goes first
 */
export function compareTurns(a: Ranked, b: Ranked): number {
  const priority = agedPriority(b) - agedPriority(a);
  if (priority !== 0) return priority;
  const [due, otherDue] = [a.deadline ?? Infinity, b.deadline ?? Infinity];
  if (due !== otherDue) return due < otherDue ? -1 : 1;
  if (a.client !== b.client && a.client.virtualTime !== b.client.virtualTime) {
    return a.client.virtualTime - b.client.virtualTime;
  }
  return a.arrival - b.arrival;
}

/** A request's priority, raised by how long it was overtaken. */
export function agedPriority({ priority, overtakenMs }: Ranked): number {
  return priority + Math.floor(overtakenMs / AGING_MS);
}

/** Notes that `served` had `ms` of GPU time before those that came earlier with a lower priority. */
export function noteOvertaken(waiting: Iterable<Ranked>, served: Ranked, ms: number): void {
  for (const other of waiting) {
    if (other.arrival < served.arrival && other.priority < served.priority) other.overtakenMs += ms;
  }
}

/** What a client has had of the GPU. */
export interface ClientAccount {
  readonly id: string;
  /** Milliseconds of GPU work charged, brought forward over times without requests. */
  virtualTime: number;
  /** Requests in the scheduler. */
  requests: number;
}

/**
 * Start-time fair queueing (Goyal, Vin and Cheng 1996): the client with the least virtual time is served, and pays for
 * it with GPU time. One that returns after a pause starts at the time of those being served, so it cannot save up.
 */
export class FairShare {
  readonly #clients = new Map<string, ClientAccount>();
  #now = 0;

  /** The client's account, for one request more. */
  enter(id: string): ClientAccount {
    let account = this.#clients.get(id);
    if (!account) this.#clients.set(id, (account = { id, virtualTime: this.#now, requests: 0 }));
    account.requests++;
    return account;
  }

  /** Notes that one of the client's requests is done. */
  leave(account: ClientAccount): void {
    account.requests--;
    this.#forget();
  }

  /** Notes whose turn it is, before it is charged. */
  serve(account: ClientAccount): void {
    this.#now = Math.max(this.#now, account.virtualTime);
    this.#forget();
  }

  /** A debt outlives a client's last request, or many short ones would be free; but not all requests of all. */
  #forget(): void {
    const idle = [...this.#clients.values()].every(({ requests }) => requests === 0);
    for (const [id, { requests, virtualTime }] of this.#clients) {
      if (requests === 0 && (idle || virtualTime <= this.#now)) this.#clients.delete(id);
    }
  }

  /** Charges an estimate, or corrects one. */
  charge(account: ClientAccount, ms: number): void {
    account.virtualTime += ms;
  }

  /** Requests that the client has in the scheduler. */
  requestsOf(id: string): number {
    return this.#clients.get(id)?.requests ?? 0;
  }

  get clients(): number {
    return this.#clients.size;
  }
}
