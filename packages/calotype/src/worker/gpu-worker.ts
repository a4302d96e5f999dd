import { serve } from '@calotype/scheduler';
import { CPU_THREAD, cpuService } from './cpu-service.ts';
import { DiffusionEngine } from './diffusion-engine.ts';

// One script for both threads: the engine does the other's work where there is no worker for it, and so has all of that anyway.
if ((globalThis as { name?: unknown }).name === CPU_THREAD) serve(cpuService());
else {
  serve(new DiffusionEngine().service, {
    // Some browsers have WebGPU in pages and their workers but not in shared workers.
    isUsable: async () => Boolean(await navigator.gpu?.requestAdapter()),
  });
}
