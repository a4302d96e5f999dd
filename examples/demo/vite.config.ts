import { wgsl } from '../../packages/dev/src/wgsl-plugin.ts';
import { defineConfig } from 'vite';
import { bundledModel } from './build/bundled-model.ts';
import { offline } from './build/offline.ts';

export default defineConfig({
  // Relative, so that the folder works wherever it is put.
  base: './',
  plugins: [wgsl(), bundledModel(), offline()],
  worker: {
    format: 'es',
    plugins: () => [wgsl()],
    rolldownOptions: {
      // Two workers read prompts; the same chunk is fetched once.
      output: { codeSplitting: { groups: [{ name: 'tokenizers', test: /@huggingface[\\/]tokenizers/ }] } },
      checks: { pluginTimings: false },
    },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  build: {
    // Lowers `using`, which not every browser with WebGPU has.
    target: 'es2022',
    chunkSizeWarningLimit: Infinity,
    license: { fileName: 'licenses.md' },
    // Slow machines are not news.
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
