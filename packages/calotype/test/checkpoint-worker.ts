import { serve } from '@calotype/scheduler';
import { CPU_THREAD, cpuService } from '../src/worker/cpu-service.ts';
import { DiffusionEngine } from '../src/worker/diffusion-engine.ts';

// What gpu-worker is, with checkpoints so often that a test need not wait for one.
if ((globalThis as { name?: unknown }).name === CPU_THREAD) serve(cpuService());
else serve(new DiffusionEngine({ checkpointMs: 10 }).service);
