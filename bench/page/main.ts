import { Engine } from '@calotype/core';
import type { BenchPage } from '../types.ts';
import { kernels } from '../kernels/page/kernels.ts';
import { runFrames } from './frames.ts';
import { runGraph } from './graph.ts';
import { runOrt } from './ort.ts';
import { runColdStart, runPictures } from './pictures.ts';
import { runControl, runRequests } from './requests.ts';
import { sendWeights } from './weights-file.ts';

declare global {
  var calotypeBench: BenchPage;
}

globalThis.calotypeBench = {
  phase: 'starting',
  async adapter() {
    using engine = await Engine.create();
    return { name: engine.capabilities.adapter, precision: engine.precision };
  },
  runGraph,
  runOrt,
  runPictures,
  runColdStart,
  runRequests,
  runControl,
  runFrames,
  kernels,
  async sendWeights(graph, url) {
    using engine = await Engine.create();
    await sendWeights(graph, url, engine.device);
  },
};
