import { defineConfig } from 'vite';
import { fixtureServer } from '../../packages/dev/src/fixture-server.ts';
import { wgsl } from '../../packages/dev/src/wgsl-plugin.ts';

// For running from this repository, from sources and with models of random weights. The published package needs only the
// target: browsers that have WebGPU but not `using`.
export default defineConfig({
  plugins: [wgsl(), fixtureServer({ '/model/': 'tiny-sd' })],
  worker: { format: 'es', plugins: () => [wgsl()] },
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  build: { target: 'es2022', chunkSizeWarningLimit: Infinity },
});
