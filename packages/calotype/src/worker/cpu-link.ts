import { WorkerLink } from '@calotype/scheduler';

/** A worker, of the thread that this is called in, for files, prompts and pictures. */
export function cpuWorker(): WorkerLink {
  return new WorkerLink(
    () => new Worker(new URL('./cpu-worker.ts', import.meta.url), { type: 'module', name: 'calotype-cpu' }),
  );
}
