/** Where messages go and come from: a worker, a port, or another tab by way of a `BroadcastChannel`. */
export interface Channel {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
  removeEventListener(type: string, listener: (event: Event) => void): void;
  start?: () => void;
}

/** What passes beside the calls, whose messages have another form: each side ignores the other's. */
export type Notice =
  /** The client asks who is there. */
  | { calotype: 'hello'; client: string }
  /** The host answers. `usable` tells whether it can do its work where it is. */
  | { calotype: 'welcome'; host: string; usable: boolean }
  /** The page tells its worker to serve other tabs too. */
  | { calotype: 'open'; group: string }
  /** With a port: whoever holds its other end is to be served too. */
  | { calotype: 'port' }
  /** Something that a job reports. */
  | { calotype: 'event'; job: number; event: unknown }
  /** What a job would go on from if this host were gone. */
  | { calotype: 'keep'; job: number; state: unknown };

/** Calls `listener` with every notice that comes, and the ports that came with it. @returns stops that */
export function onNotice(
  channel: Channel,
  listener: (notice: Notice, ports: readonly MessagePort[]) => void,
): () => void {
  const hear = (event: Event): void => {
    const { data, ports } = event as MessageEvent<unknown>;
    if (typeof data === 'object' && data !== null && 'calotype' in data) listener(data as Notice, ports);
  };
  channel.addEventListener('message', hear);
  channel.start?.();
  return () => channel.removeEventListener('message', hear);
}

/** Everybody's address on a broadcast channel, for those who know nobody yet. */
export const ANY_HOST = 'host';

interface Letter {
  to: string;
  from: string;
  message: unknown;
}

/** A conversation of two on a `BroadcastChannel`. Nothing can be transferred: all is copied. */
export class BroadcastPeer extends EventTarget implements Channel {
  readonly #channel: BroadcastChannel;
  readonly #self: string;
  readonly #peer: string;
  readonly #hear: (event: MessageEvent<Letter>) => void;
  #isClosed = false;

  constructor(channel: BroadcastChannel, self: string, peer: string) {
    super();
    this.#channel = channel;
    this.#self = self;
    this.#peer = peer;
    this.#hear = ({ data: { to, from, message } }) => {
      if (to !== self || (from !== peer && peer !== ANY_HOST)) return;
      this.dispatchEvent(new MessageEvent('message', { data: message }));
    };
    channel.addEventListener('message', this.#hear);
  }

  /** Once closed it drops what it is given: comlink says goodbye for each proxy when that is collected, whenever that is. */
  postMessage(message: unknown, _transfer?: Transferable[]): void {
    if (this.#isClosed) return;
    const letter: Letter = { to: this.#peer, from: this.#self, message };
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window: a BroadcastChannel has no such argument
    this.#channel.postMessage(letter);
  }

  close(): void {
    this.#isClosed = true;
    this.#channel.removeEventListener('message', this.#hear);
  }
}

/** Calls `listener` with the address of everybody who writes to any host. */
export function onStranger(
  channel: BroadcastChannel,
  listener: (address: string, message: unknown) => void,
): void {
  channel.addEventListener('message', ({ data: { to, from, message } }: MessageEvent<Letter>) => {
    if (to === ANY_HOST) listener(from, message);
  });
}
