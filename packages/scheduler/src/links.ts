import { ANY_HOST, BroadcastPeer, onNotice, type Channel, type Notice } from './channel.ts';
import { WorkerCrashedError } from './errors.ts';

/** A host that can be talked to. */
export interface Connection {
  channel: Channel;
  /** The host's life. */
  host: string;
  /** Whether the host can do its work where it is. */
  usable: boolean;
  /** Resolves with the reason if the host reports that it fails; its life may end without. */
  failed: Promise<string>;
}

/** A way to a host. `connect` is called again when the host is gone. */
export interface Link {
  /**
   * @param client life of whoever asks
   * @throws WorkerCrashedError where no host can be started
   */
  connect(client: string): Promise<Connection>;
  /** Lets go of the host; ends it if it is this page's own. Idempotent. */
  dispose(): void;
}

/** A worker of this page alone. */
export class WorkerLink implements Link {
  readonly #make: () => Worker;
  #worker: Worker | undefined;

  /** @param make a new worker each time */
  constructor(make: () => Worker) {
    this.#make = make;
  }

  async connect(client: string): Promise<Connection> {
    this.#worker?.terminate();
    const worker = this.#make();
    this.#worker = worker;
    return greet(worker, client, whenFails(worker));
  }

  /** A port to the worker, for a thread that cannot start one itself. Only once it is connected. */
  port(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#worker?.postMessage({ calotype: 'port' } satisfies Notice, [port1]);
    return port2;
  }

  /** Has the worker serve other tabs, which find it by this name. */
  open(group: string): void {
    this.#worker?.postMessage({ calotype: 'open', group } satisfies Notice, []);
  }

  dispose(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

/** A worker that another thread has started. */
export class PortLink implements Link {
  readonly #ask: () => Promise<MessagePort>;
  #port: MessagePort | undefined;

  /** @param ask whoever may start workers, for a port to one, each time */
  constructor(ask: () => Promise<MessagePort>) {
    this.#ask = ask;
  }

  async connect(client: string): Promise<Connection> {
    this.#port?.close();
    this.#port = await this.#ask();
    return greet(this.#port, client, new Promise(() => {}));
  }

  dispose(): void {
    this.#port?.close();
    this.#port = undefined;
  }
}

/** A shared worker: one for all tabs of an origin. */
export class SharedWorkerLink implements Link {
  readonly #make: () => SharedWorker;
  #worker: SharedWorker | undefined;

  constructor(make: () => SharedWorker) {
    this.#make = make;
  }

  async connect(client: string): Promise<Connection> {
    this.#worker?.port.close();
    const worker = this.#make();
    this.#worker = worker;
    return greet(worker.port, client, whenFails(worker));
  }

  dispose(): void {
    this.#worker?.port.close();
    this.#worker = undefined;
  }
}

/** How often a tab asks who leads, while nobody has answered. */
const ASK_MS = 100;

/**
 * The worker of one tab, for all tabs of an origin. The tab that holds a Web Lock leads: its worker serves the others. When
 * it closes, the browser gives the lock to the next, whose worker takes its place.
 */
export class LeaderLink implements Link {
  readonly #group: string;
  readonly #own: WorkerLink;
  readonly #channel: BroadcastChannel;
  readonly #election = new AbortController();
  /** Resolves when this tab leads. */
  #elected: Promise<'leads'> | undefined;
  #resign: () => void = () => {};
  #peer: BroadcastPeer | undefined;

  constructor(group: string, make: () => Worker) {
    this.#group = group;
    this.#own = new WorkerLink(make);
    this.#channel = new BroadcastChannel(group);
  }

  async connect(client: string): Promise<Connection> {
    this.#elected ??= this.#run();
    this.#peer?.close();
    const search = new AbortController();
    try {
      const found = await Promise.race([this.#elected, this.#find(client, search.signal)]);
      if (found !== 'leads') return found;
    } finally {
      search.abort();
    }
    const connection = await this.#own.connect(client);
    this.#own.open(this.#group);
    return connection;
  }

  #run(): Promise<'leads'> {
    const { signal } = this.#election;
    return new Promise((resolve, reject) => {
      navigator.locks
        .request(`calotype-leader:${this.#group}`, { signal }, () => {
          resolve('leads');
          return new Promise<void>((resign) => (this.#resign = resign));
        })
        .catch(reject);
    });
  }

  /** Asks until a host answers. */
  async #find(client: string, signal: AbortSignal): Promise<Connection> {
    const asking = new BroadcastPeer(this.#channel, client, ANY_HOST);
    return new Promise((resolve) => {
      const ask = (): void => asking.postMessage({ calotype: 'hello', client } satisfies Notice, []);
      const timer = setInterval(ask, ASK_MS);
      const stop = onNotice(asking, (notice) => {
        if (notice.calotype !== 'welcome') return;
        this.#peer = new BroadcastPeer(this.#channel, client, notice.host);
        resolve({ channel: this.#peer, ...notice, failed: new Promise(() => {}) });
        end();
      });
      const end = (): void => {
        clearInterval(timer);
        stop();
        asking.close();
      };
      signal.addEventListener('abort', end, { once: true });
      ask();
    });
  }

  dispose(): void {
    this.#election.abort();
    this.#resign();
    this.#own.dispose();
    this.#peer?.close();
    this.#channel.close();
  }
}

/** The first of these links whose host can do its work where it is. */
export class FirstUsableLink implements Link {
  readonly #links: (() => Link)[];
  #current: Link | undefined;

  constructor(links: readonly (() => Link)[]) {
    this.#links = [...links];
  }

  async connect(client: string): Promise<Connection> {
    for (;;) {
      this.#current ??= this.#links.shift()!();
      const isLast = this.#links.length === 0;
      try {
        const connection = await this.#current.connect(client);
        if (connection.usable || isLast) return connection;
      } catch (error) {
        if (isLast) throw error;
      }
      this.#current.dispose();
      this.#current = undefined;
    }
  }

  dispose(): void {
    this.#current?.dispose();
  }
}

/** Says hello until it is answered. */
async function greet(channel: Channel, client: string, failed: Promise<string>): Promise<Connection> {
  let stop = (): void => {};
  const welcome = new Promise<Connection>((resolve) => {
    stop = onNotice(channel, (notice) => {
      if (notice.calotype === 'welcome') resolve({ channel, ...notice, failed });
    });
    channel.postMessage({ calotype: 'hello', client } satisfies Notice, []);
  });
  try {
    return await Promise.race([
      welcome,
      failed.then((reason) => {
        throw new WorkerCrashedError(reason);
      }),
    ]);
  } finally {
    stop();
  }
}

function whenFails(worker: Worker | SharedWorker): Promise<string> {
  return new Promise((resolve) => {
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      resolve((event as ErrorEvent).message || 'its script could not be loaded');
    });
  });
}
