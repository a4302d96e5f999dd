import { defineConfig } from 'vite';
import { fixtureServer } from '../../packages/dev/src/fixture-server.ts';
import { wgsl } from '../../packages/dev/src/wgsl-plugin.ts';

// For running from this repository, from sources and with a model of random weights. The published package needs none of this.
export default defineConfig({
  plugins: [wgsl(), fixtureServer({ '/model/': 'tiny-sd' })],
  worker: { format: 'es', plugins: () => [wgsl()] },
  optimizeDeps: { exclude: ['onnxruntime-web'] },
});
