/** The worker died: its script failed to load, it threw outside of any job, or it was terminated. */
export class WorkerCrashedError extends Error {
  override name = 'WorkerCrashedError';

  constructor(message: string) {
    super(`The worker stopped: ${message}. Create a new one to go on.`);
  }
}
