/** The worker died: its script failed to load, it threw outside of any job, or it was terminated. */
export class WorkerCrashedError extends Error {
  override name = 'WorkerCrashedError';

  constructor(message: string) {
    super(`The worker stopped: ${message}. Create a new one to go on.`);
  }
}

/** No more requests are admitted for now. */
export class QueueFullError extends Error {
  override name = 'QueueFullError';
  /** Requests that may be in the scheduler at once, of all clients or of this one. */
  readonly limit: number;
  /** Whose limit it is. */
  readonly scope: 'all' | 'client';

  constructor(limit: number, scope: 'all' | 'client') {
    super(
      `${limit} requests are in the queue${scope === 'client' ? ' for this client' : ''}, and no more are admitted. ` +
        "Wait for one to finish, or submit with whenFull: 'wait'.",
    );
    this.limit = limit;
    this.scope = scope;
  }
}

/** The scheduler was disposed of while the request was in it, or before. */
export class SchedulerDisposedError extends Error {
  override name = 'SchedulerDisposedError';

  constructor() {
    super('The scheduler was disposed of.');
  }
}
