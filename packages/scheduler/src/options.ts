export interface SchedulerOptions {
  /** Resolves when the GPU has done all that was submitted so far; rejects when the device is lost. */
  whenDone?: () => Promise<unknown>;
  /** Requests that may be here at once, queued ones included. Default 64. */
  limit?: number;
  /** The same for each client. Default: no other limit. */
  limitPerClient?: number;
  /** Requests that may have left the queue at once; 1 serves them one after the other. Default: as many as stages take. */
  maxActive?: number;
  /** Most jobs in one step, whatever stages allow. */
  maxBatch?: number;
  /** Milliseconds so far that the GPU was kept from work on purpose: no part of what steps cost. Default: none. */
  restedMs?: () => number;
  /**
   * Bytes that all jobs together may hold, as their stages count them: what requests add to the models, whose memory has a
   * budget of its own. One job alone may hold more: then it is the device that refuses.
   */
  memoryBudget?: number;
  /** Milliseconds between checkpoints of a request. Default 1,000. */
  checkpointMs?: number;
  isOutOfMemory?: (error: unknown) => boolean;
  /** Whether an error means that everything on the GPU is lost. */
  isLoss?: (error: unknown) => boolean;
  /** Makes the stages usable again after a loss. When it throws, every request fails with what it throws. */
  recover?: (error: unknown) => Promise<void>;
}
