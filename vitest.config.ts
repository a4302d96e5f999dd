import { availableParallelism } from 'node:os';
import { bundledWorkers } from './packages/dev/src/bundled-workers.ts';
import { launchOptions } from './packages/dev/src/chromium.ts';
import { fixtureServer } from './packages/dev/src/fixture-server.ts';
import { wgsl } from './packages/dev/src/wgsl-plugin.ts';
import { browserPerPage } from './scripts/lib/browser-per-page.ts';
import { defineConfig, type UserWorkspaceConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const gpuTests = 'packages/*/{src,test}/**/*.gpu.test.ts';
/** Of those, the ones that need onnxruntime not to be loaded yet. */
const alone = 'packages/core/src/fallback/{asyncify,fallback}.gpu.test.ts';

/** Files that take longer than their size tells, the longest first: one that starts last keeps one of two cores idle. */
const slow = [
  'onnx-node.gpu',
  'families.gpu',
  'pocket.gpu',
  'memory.gpu',
  'text-to-image.gpu',
  'image-pipelines.gpu',
  'integers.gpu',
  'decoding.gpu',
  'sharing.gpu',
  'faults.gpu',
  'opfs.gpu',
  'convolution.gpu',
  'native-shaders',
  'tuned-shaders',
];

/** Those first, then large files before small ones, as Vitest does where it has no times of earlier runs. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = slow.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at < 0 ? slow.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

/** Tests in headless Chromium on the software adapter, a browser to each core. */
function gpuProject(
  name: string,
  files: { include: string[]; exclude?: string[]; isolate?: boolean },
): UserWorkspaceConfig {
  return {
    plugins: [wgsl(), bundledWorkers(), fixtureServer()],
    // Found by the crawl only after the first test has started, which would reload the page under it.
    optimizeDeps: { exclude: ['onnxruntime-web'] },
    test: {
      name,
      ...files,
      // Many times what they take on two idle cores: they fail by what they find, not by who else uses the machine.
      testTimeout: 240_000,
      hookTimeout: 240_000,
      expect: { poll: { timeout: 30_000 } },
      // A page keeps little more than one core busy. More browsers than four gain nothing: the longest file decides.
      maxWorkers: Math.min(availableParallelism(), 4),
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: browserPerPage(launchOptions('software')),
        instances: [{ browser: 'chromium' }],
      },
    },
  };
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    globalSetup: ['packages/dev/src/vitest-setup.ts'],
    projects: [
      {
        plugins: [wgsl()],
        test: {
          name: 'unit',
          environment: 'node',
          include: ['{packages,examples}/*/{src,test}/**/*.test.ts', '{scripts,bench}/**/*.test.ts'],
          exclude: ['**/node_modules/**', gpuTests],
          testTimeout: 30_000,
          // Each file would load the engine anew, which takes as long as most of their tests.
          isolate: false,
          // Vitest leaves a core free, which is half of a machine of two.
          maxWorkers: availableParallelism(),
        },
      },
      // One page for all files that a browser runs: it loads the modules once, and compiles kernels once (`pageEngine`).
      gpuProject('gpu', { include: [gpuTests], exclude: ['**/node_modules/**', alone], isolate: false }),
      gpuProject('gpu-alone', { include: [alone] }),
    ],
  },
});
