export { Client, type CallOptions } from './client.ts';
export { WorkerCrashedError } from './errors.ts';
export { serve, type Job, type JobContext, type Service } from './host.ts';
export { registerErrors, transferablesOf, type WireError } from './wire.ts';
