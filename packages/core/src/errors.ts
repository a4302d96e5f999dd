/** Base of every error this library throws on purpose. `instanceof CalotypeError` separates them from bugs. */
export class CalotypeError extends Error {
  override name = 'CalotypeError';
}

/** A model file that cannot be read: truncated, not ONNX, contradictory or absurd. */
export class InvalidModelError extends CalotypeError {
  override name = 'InvalidModelError';
  /** File the trouble is in. */
  readonly file: string;
  /** Byte position in the file, where known. */
  readonly offset: number | undefined;

  constructor(message: string, details: { file: string; offset?: number; cause?: unknown }) {
    const place = details.offset === undefined ? details.file : `${details.file} at byte ${details.offset}`;
    super(`${place}: ${message}`, { cause: details.cause });
    this.file = details.file;
    this.offset = details.offset;
  }
}

/** One operator that nothing here can run. */
export interface UnsupportedOp {
  op: string;
  domain: string;
  opset: number;
  node: string;
  reason: string;
}

/** Operators (all of them, not only the first) that have no implementation on the path that was asked for. */
export class UnsupportedOpError extends CalotypeError {
  override name = 'UnsupportedOpError';
  readonly ops: readonly UnsupportedOp[];

  constructor(ops: readonly UnsupportedOp[]) {
    const [first] = ops;
    const rest = [...new Set(ops.slice(1).map((o) => o.op))].filter((op) => op !== first?.op);
    super(
      `'${first?.op}' (node '${first?.node}', opset ${first?.opset}): ${first?.reason}.` +
        (rest.length > 0 ? ` This model also needs: ${rest.join(', ')}.` : '') +
        ` See docs/operators.md; the onnxruntime fallback may run it.`,
    );
    this.ops = ops;
  }
}

/** An input, output or operand whose shape, dtype or name is not what the graph declares. */
export class ShapeError extends CalotypeError {
  override name = 'ShapeError';
  /** Graph value or node it concerns. */
  readonly where: string;
  readonly expected: string;
  readonly actual: string;

  constructor(where: string, details: { expected: string; actual: string; hint?: string }) {
    super(
      `${where}: expected ${details.expected}, got ${details.actual}.${details.hint ? ` ${details.hint}` : ''}`,
    );
    this.where = where;
    this.expected = details.expected;
    this.actual = details.actual;
  }
}

/** WebGPU is missing, or the adapter cannot do what was asked for. */
export class UnsupportedDeviceError extends CalotypeError {
  override name = 'UnsupportedDeviceError';
  /** Feature or limit that is missing. */
  readonly missing: string;

  constructor(message: string, missing: string) {
    super(message);
    this.missing = missing;
  }
}

/** The GPU device was lost (driver reset, removed, destroyed). Its tensors are gone; a new session is needed. */
export class DeviceLostError extends CalotypeError {
  override name = 'DeviceLostError';
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(`The GPU device was lost (${reason}): ${message || 'no message'}. Create a new engine to go on.`);
    this.reason = reason;
  }
}

/** An allocation that the device refused or that the byte budget does not allow. */
export class OutOfMemoryError extends CalotypeError {
  override name = 'OutOfMemoryError';
  /** Bytes asked for. */
  readonly requestedBytes: number;
  /** Bytes that limit it: the device's or the caller's. */
  readonly limitBytes: number | undefined;

  /** @param memoryBudget the budget that refuses it, where it is not the device */
  constructor(what: string, requestedBytes: number, limitBytes?: number, memoryBudget?: number) {
    const isBudget = memoryBudget !== undefined;
    super(
      `Not enough GPU memory for ${what}: ${requestedBytes} bytes asked for` +
        (limitBytes === undefined ? '' : `, ${limitBytes} available`) +
        (isBudget ? ` in a memoryBudget of ${memoryBudget}.` : '.') +
        ` Use a smaller size or batch, ${isBudget ? 'quantized weights or a larger budget' : 'or quantized weights'}.`,
    );
    this.requestedBytes = requestedBytes;
    this.limitBytes = limitBytes;
  }
}

/** WGSL that the browser refused. Always a bug of ours or of the driver; carries what is needed to report it. */
export class ShaderError extends CalotypeError {
  override name = 'ShaderError';
  readonly kernel: string;
  /** What the browser says, each message on a line that begins with its place in the source, where it has one. */
  readonly messages: string;
  readonly source: string;

  constructor(kernel: string, messages: string, source: string) {
    super(`Internal error: shader '${kernel}' does not compile.\n${messages}\n${source}`);
    this.kernel = kernel;
    this.messages = messages;
    this.source = source;
  }
}

/** A NaN or infinity where the engine looked for one. */
export class NumericError extends CalotypeError {
  override name = 'NumericError';
  /** Value that holds it. */
  readonly value: string;

  constructor(value: string, hint: string) {
    super(`'${value}' holds NaN or infinite elements. ${hint}`);
    this.value = value;
  }
}

/** Bytes that could not be fetched. */
export class SourceError extends CalotypeError {
  override name = 'SourceError';
  readonly url: string;
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** Whether the same request may succeed later: the network failed or the server was busy. */
  readonly retryable: boolean;
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number;

  constructor(
    url: string,
    message: string,
    details: { status?: number; cause?: unknown; retryable?: boolean; retryAfterMs?: number } = {},
  ) {
    super(`${url}: ${message}`, { cause: details.cause });
    this.url = url;
    this.status = details.status;
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs ?? 0;
  }
}

/** A file that changed on the server after a part of it was read. Load the model again. */
export class FileChangedError extends SourceError {
  override name = 'FileChangedError';
  /** Size and ETag or date of what was read, and of what is there now. */
  readonly before: string;
  readonly now: string;

  constructor(url: string, before: string, now: string, status?: number) {
    super(
      url,
      `the file changed on the server (${before}, now ${now}). Load the model again.`,
      status === undefined ? {} : { status },
    );
    this.before = before;
    this.now = now;
  }
}

/** A file whose contents are not those that its SHA-256 digest promises. Nothing of it is kept. */
export class DigestError extends SourceError {
  override name = 'DigestError';
  /** Hexadecimal SHA-256 digests. */
  readonly expected: string;
  readonly actual: string;

  constructor(url: string, expected: string, actual: string) {
    super(
      url,
      `its SHA-256 is ${actual}, expected ${expected}. It was damaged on the way, or is another file.`,
    );
    this.expected = expected;
    this.actual = actual;
  }
}

/** Storage that the browser does not grant. Nothing of the file that needed it is kept. */
export class QuotaError extends CalotypeError {
  override name = 'QuotaError';
  /** What is stored. */
  readonly file: string;
  readonly requestedBytes: number;
  /** Bytes that could be had after every model not in use was evicted, where known. */
  readonly availableBytes: number | undefined;

  constructor(file: string, requestedBytes: number, availableBytes?: number, cause?: unknown) {
    super(
      `${file}: ${requestedBytes} bytes of storage are needed` +
        (availableBytes === undefined ? ', which the browser refuses.' : `, ${availableBytes} available.`) +
        ' Evict models from the cache, free disk space, or load without a cache.',
      { cause },
    );
    this.file = file;
    this.requestedBytes = requestedBytes;
    this.availableBytes = availableBytes;
  }
}

/** There is nothing to keep models in here. They can still be loaded without a cache. */
export class UnsupportedCacheError extends CalotypeError {
  override name = 'UnsupportedCacheError';

  constructor(reason: string, cause?: unknown) {
    super(`Models cannot be cached: ${reason}.`, { cause });
  }
}

/** An object used after its `dispose()`. */
export class DisposedError extends CalotypeError {
  override name = 'DisposedError';

  constructor(what: string) {
    super(`${what} was used after dispose().`);
  }
}

/** Throws when a state is reached that the types rule out. */
export function assertNever(value: never): never {
  throw new Error(`Internal error: unexpected ${JSON.stringify(value)}`);
}

/** Weights that cannot be updated: the model does not have them, or what runs it keeps its own copies. */
export class WeightUpdateError extends CalotypeError {
  override name = 'WeightUpdateError';
  /** Names of the initializers. */
  readonly weights: readonly string[];

  constructor(weights: readonly string[], reason: string) {
    const others = weights.length > 1 ? ` (and ${weights.length - 1} others)` : '';
    super(`Weight '${weights[0]}'${others} cannot be updated: ${reason}.`);
    this.weights = weights;
  }
}
