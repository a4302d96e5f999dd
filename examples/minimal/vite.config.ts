import { defineConfig } from 'vite';
import { fixtureServer, pocketDir } from '../../packages/dev/src/fixture-server.ts';
import { wgsl } from '../../packages/dev/src/wgsl-plugin.ts';

// For running from this repository, from sources and with the model in it. The published package needs none of this.
export default defineConfig({
  plugins: [wgsl(), fixtureServer({ '/model/': pocketDir })],
  worker: { format: 'es', plugins: () => [wgsl()] },
  optimizeDeps: { exclude: ['onnxruntime-web'] },
});
