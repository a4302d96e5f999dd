// The origin-private file system and Web Locks in memory, for Node.

export interface FakeOpfs {
  /** The same folder as pages see it, and as workers do, whose files have synchronous access. */
  readonly pageRoot: FileSystemDirectoryHandle;
  readonly workerRoot: FileSystemDirectoryHandle;
  /** Most bytes that all files may hold. */
  quota: number;
  /** Bytes that all files hold. */
  readonly usage: number;
  /** Paths of all files, in order. */
  paths(): string[];
}

interface FakeFile {
  kind: 'file';
  bytes: Uint8Array<ArrayBuffer>;
  /** How many have it open so that nobody may change it. */
  readers: number;
  /** How many have it open to change it: one in place, or several by streams. */
  streams: number;
  isOpen: boolean;
}

interface FakeFolder {
  kind: 'directory';
  entries: Map<string, FakeFile | FakeFolder>;
}

/** What others do meanwhile. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

export function fakeOpfs(): FakeOpfs {
  const top: FakeFolder = { kind: 'directory', entries: new Map() };
  const filesOf = (folder: FakeFolder): FakeFile[] =>
    [...folder.entries.values()].flatMap((entry) => (entry.kind === 'file' ? [entry] : filesOf(entry)));
  const pathsOf = (folder: FakeFolder, prefix: string): string[] =>
    [...folder.entries].flatMap(([name, entry]) =>
      entry.kind === 'file' ? [prefix + name] : pathsOf(entry, `${prefix}${name}/`),
    );
  const opfs = {
    quota: Infinity,
    get usage() {
      return filesOf(top).reduce((sum, { bytes }) => sum + bytes.length, 0);
    },
    paths: () => pathsOf(top, '').toSorted(),
  };

  const put = (file: FakeFile, at: number, bytes: Uint8Array): void => {
    const size = Math.max(file.bytes.length, at + bytes.length);
    if (opfs.usage - file.bytes.length + size > opfs.quota)
      throw new DOMException('full', 'QuotaExceededError');
    // Appending copies what is there only when its memory is full.
    const { buffer } = file.bytes;
    const grown =
      size <= buffer.byteLength
        ? new Uint8Array(buffer, 0, size)
        : new Uint8Array(new ArrayBuffer(2 * size), 0, size);
    if (grown.buffer !== buffer) grown.set(file.bytes);
    grown.set(bytes, at);
    file.bytes = grown;
  };

  const fileHandle = (name: string, file: FakeFile, sync: boolean): unknown => ({
    kind: 'file',
    name,
    async getFile() {
      const { bytes } = file;
      // Readable until the file changes.
      const blob = (from = 0, to = bytes.length): Blob => {
        const arrayBuffer = async (): Promise<ArrayBuffer> => {
          await turn();
          if (file.bytes !== bytes) throw new DOMException(name, 'NotReadableError');
          return bytes.slice(from, to).buffer;
        };
        const text = async (): Promise<string> => new TextDecoder().decode(await arrayBuffer());
        return { size: Math.min(to, bytes.length) - from, slice: blob, arrayBuffer, text } as unknown as Blob;
      };
      return blob();
    },
    async createWritable({ keepExistingData = false } = {}) {
      if (file.isOpen || file.readers) throw new DOMException('open elsewhere', 'NoModificationAllowedError');
      file.streams++;
      const copy: FakeFile = { ...file, bytes: keepExistingData ? file.bytes : new Uint8Array() };
      return {
        async write(data: string | { position: number; data: Uint8Array }) {
          const isText = typeof data === 'string';
          put(copy, isText ? 0 : data.position, isText ? new TextEncoder().encode(data) : data.data);
        },
        truncate: async (size: number) => void (copy.bytes = copy.bytes.slice(0, size)),
        async close() {
          await turn();
          file.streams--;
          file.bytes = new Uint8Array();
          put(file, 0, copy.bytes);
        },
      };
    },
    ...(sync && {
      async createSyncAccessHandle({ mode }: { mode?: string } = {}) {
        const isChanging = file.isOpen || file.streams > 0;
        if (isChanging || (mode !== 'read-only' && file.readers > 0)) {
          throw new DOMException('open elsewhere', 'NoModificationAllowedError');
        }
        if (mode === 'read-only') {
          file.readers++;
          await turn();
          return {
            read(target: Uint8Array, { at }: { at: number }) {
              const bytes = file.bytes.subarray(at, at + target.length);
              target.set(bytes);
              return bytes.length;
            },
            close: () => void file.readers--,
          };
        }
        file.isOpen = true;
        return {
          getSize: () => file.bytes.length,
          write(bytes: Uint8Array, { at }: { at: number }) {
            put(file, at, bytes);
            return bytes.length;
          },
          truncate: (size: number) => void (file.bytes = file.bytes.slice(0, size)),
          flush: () => {},
          close: () => void (file.isOpen = false),
        };
      },
    }),
  });

  const folderHandle = (name: string, folder: FakeFolder, sync: boolean): FileSystemDirectoryHandle => {
    const handleOf = (child: string): unknown => {
      const entry = folder.entries.get(child)!;
      return entry.kind === 'file' ? fileHandle(child, entry, sync) : folderHandle(child, entry, sync);
    };
    const find = (child: string, kind: 'file' | 'directory', create: boolean): unknown => {
      const entry = folder.entries.get(child);
      if (!entry && !create) throw new DOMException(child, 'NotFoundError');
      if (entry && entry.kind !== kind) throw new DOMException(child, 'TypeMismatchError');
      if (!entry) {
        folder.entries.set(
          child,
          kind === 'file'
            ? { kind, bytes: new Uint8Array(), readers: 0, streams: 0, isOpen: false }
            : { kind, entries: new Map() },
        );
      }
      return handleOf(child);
    };
    return {
      kind: 'directory',
      name,
      getDirectoryHandle: async (child: string, { create = false } = {}) => find(child, 'directory', create),
      getFileHandle: async (child: string, { create = false } = {}) => find(child, 'file', create),
      async removeEntry(child: string) {
        const entry = folder.entries.get(child);
        if (!entry) throw new DOMException(child, 'NotFoundError');
        if ((entry.kind === 'file' ? [entry] : filesOf(entry)).some(({ isOpen }) => isOpen)) {
          throw new DOMException(child, 'NoModificationAllowedError');
        }
        folder.entries.delete(child);
      },
      async *keys() {
        yield* folder.entries.keys();
      },
      async *values() {
        for (const child of folder.entries.keys()) yield handleOf(child);
      },
      async *entries() {
        for (const child of folder.entries.keys()) yield [child, handleOf(child)];
      },
    } as unknown as FileSystemDirectoryHandle;
  };
  return Object.defineProperties(opfs, {
    pageRoot: { value: folderHandle('', top, false) },
    workerRoot: { value: folderHandle('', top, true) },
  }) as unknown as FakeOpfs;
}

/** Web Locks of one origin. */
export function fakeLocks(): LockManager {
  interface Request {
    mode: LockMode;
    start(): void;
  }
  const held = new Map<string, LockMode[]>();
  const lines = new Map<string, Request[]>();
  const isFree = (name: string, mode: LockMode): boolean => {
    const modes = held.get(name) ?? [];
    return modes.length === 0 || (mode === 'shared' && modes.every((other) => other === 'shared'));
  };
  const advance = (name: string): void => {
    const line = lines.get(name) ?? [];
    while (line.length > 0 && isFree(name, line[0]!.mode)) line.shift()!.start();
  };
  const locks = {
    async request(
      name: string,
      options: LockOptions | (() => unknown),
      callback?: (lock: unknown) => unknown,
    ) {
      const { mode = 'exclusive', ifAvailable, signal } = typeof options === 'function' ? {} : options;
      const work = callback ?? (options as () => unknown);
      signal?.throwIfAborted();
      const line = lines.get(name) ?? [];
      lines.set(name, line);
      if (ifAvailable && (line.length > 0 || !isFree(name, mode))) return work(null);
      await new Promise<void>((resolve, reject) => {
        const request: Request = {
          mode,
          start() {
            held.set(name, [...(held.get(name) ?? []), mode]);
            resolve();
          },
        };
        line.push(request);
        signal?.addEventListener('abort', () => {
          const index = line.indexOf(request);
          if (index >= 0) line.splice(index, 1);
          reject(signal.reason as Error);
        });
        advance(name);
      });
      try {
        return await work({ name, mode });
      } finally {
        held.get(name)!.splice(held.get(name)!.indexOf(mode), 1);
        advance(name);
      }
    },
  };
  return locks as unknown as LockManager;
}
