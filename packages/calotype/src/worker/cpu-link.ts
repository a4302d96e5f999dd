import { WorkerLink } from '@calotype/scheduler';

// Its name tells the script what it is to be: `CPU_THREAD`, spelled out, since bundlers read it.

/** A worker that a page starts for files, prompts and pictures: for an engine in this thread, or one that can start none. */
export function cpuWorker(): WorkerLink {
  return new WorkerLink(
    () => new Worker(new URL('./gpu-worker.ts', import.meta.url), { type: 'module', name: 'calotype-cpu' }),
  );
}
