import { Engine } from '@calotype/core';
import type { BenchPage } from '../types.ts';
import { kernels } from '../kernels/page/kernels.ts';
import { runGraph } from './graph.ts';
import { runOrt } from './ort.ts';
import { runColdStart, runPictures } from './pictures.ts';
import { runControl, runRequests } from './requests.ts';
import { weightFiles } from './weights-file.ts';

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
  kernels,
  async downloadWeights(graph) {
    using engine = await Engine.create();
    for (const { path, data } of await weightFiles(graph, engine.device)) {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(data);
      link.download = path;
      link.click();
    }
  },
};
