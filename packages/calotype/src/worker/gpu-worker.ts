import { serve } from '@calotype/scheduler';
import { DiffusionEngine } from './diffusion-engine.ts';

const engine = new DiffusionEngine();

serve(engine.service, {
  // Some browsers have WebGPU in pages and their workers but not in shared workers.
  isUsable: async () => Boolean(await navigator.gpu?.requestAdapter()),
});
