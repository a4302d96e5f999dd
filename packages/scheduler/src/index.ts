export { Client, type CallOptions } from './client.ts';
export { QueueFullError, SchedulerDisposedError, WorkerCrashedError } from './errors.ts';
export { serve, type Job, type JobContext, type ServeOptions, type Service } from './host.ts';
export type { RequestEvent, RequestHandle, RequestOptions } from './request.ts';
export type { SchedulerOptions } from './options.ts';
export { Scheduler } from './scheduler.ts';
export {
  callStage,
  chain,
  type Chain,
  type Checkpoint,
  type Stage,
  type StageContext,
  type StageJob,
} from './stage.ts';
export { toChromeTrace } from './chrome-trace.ts';
export { gpuIdleShare, Trace } from './trace.ts';
export {
  BUSY_TRACK,
  isRequestTrack,
  KERNEL_TRACK,
  THREAD_TRACK,
  TRANSFER_TRACK,
  type ChromeTrace,
  type Span,
  type TraceEvent,
} from './span.ts';
export {
  FirstUsableLink,
  LeaderLink,
  PortLink,
  SharedWorkerLink,
  WorkerLink,
  type Connection,
  type Link,
} from './links.ts';
export { registerErrors, transferablesOf, type WireError } from './wire.ts';
