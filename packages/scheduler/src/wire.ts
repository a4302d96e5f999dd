import { QueueFullError, SchedulerDisposedError, WorkerCrashedError } from './errors.ts';

/** An error as it crosses between threads. `structuredClone` keeps neither class nor fields of one. */
export interface WireError {
  name: string;
  message: string;
  stack: string | undefined;
  /** Own properties that can be cloned. */
  fields: Record<string, unknown>;
  cause: WireError | undefined;
}

type ErrorClass = abstract new (...args: never[]) => Error;

const classes = new Map<string, ErrorClass>();
registerErrors(QueueFullError, SchedulerDisposedError, WorkerCrashedError);

/** Makes errors of these classes arrive as instances of them, fields included. Call it on the receiving side. */
export function registerErrors(...errors: readonly ErrorClass[]): void {
  for (const error of errors) classes.set(error.name, error);
}

/** @internal */
export function packError(error: unknown): WireError {
  if (!(error instanceof Error) && !(error instanceof DOMException)) {
    return { name: 'Error', message: String(error), stack: undefined, fields: {}, cause: undefined };
  }
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (key !== 'name' && key !== 'cause' && isCloneable(value)) fields[key] = value;
  }
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    fields,
    cause: error instanceof Error && error.cause !== undefined ? packError(error.cause) : undefined,
  };
}

/** @internal */
export function unpackError(wire: WireError): Error {
  // An abort stays a DOMException, as everywhere on the web.
  if (wire.name === 'AbortError' || wire.name === 'TimeoutError')
    return new DOMException(wire.message, wire.name);
  const known = classes.get(wire.name);
  const error = new Error(wire.message, wire.cause ? { cause: unpackError(wire.cause) } : {});
  if (known) Object.setPrototypeOf(error, known.prototype as object);
  Object.assign(error, wire.fields, { name: wire.name });
  if (wire.stack) error.stack = wire.stack;
  return error;
}

/**
 * What is moved, not copied, when `value` crosses: bitmaps, ports, canvases and bare array buffers, however deep. Of what views
 * of memory show, copies are sent.
 */
export function transferablesOf(value: unknown): Transferable[] {
  const found = new Set<Transferable>();
  const visit = (item: unknown, depth: number): void => {
    if (typeof item !== 'object' || item === null || depth > 4) return;
    if (isTransferable(item)) found.add(item as Transferable);
    else if (Array.isArray(item)) for (const element of item as unknown[]) visit(element, depth + 1);
    else if (Object.getPrototypeOf(item) === Object.prototype) {
      for (const element of Object.values(item)) visit(element, depth + 1);
    }
  };
  visit(value, 0);
  return [...found];
}

function isTransferable(item: object): boolean {
  return (
    (typeof ImageBitmap !== 'undefined' && item instanceof ImageBitmap) ||
    (typeof OffscreenCanvas !== 'undefined' && item instanceof OffscreenCanvas) ||
    item instanceof MessagePort ||
    item instanceof ArrayBuffer
  );
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
