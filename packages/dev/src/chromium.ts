import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Flags that keep an automated Chromium off the network and away from first-run screens. */
const quiet = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Flag sets by name: the software adapter that needs no GPU, and what a visitor's Chrome offers on a real one. */
export const flagSets = {
  /** SwiftShader: WebGPU on the CPU. f32 only, subgroups of 4. */
  software: ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
  /** A visitor's Chrome under Linux (no `shader-f16` on NVIDIA). */
  stock: vulkan([]),
  /** `stock` plus `shader-f16`, as Chrome has it on Windows and macOS. */
  f16: vulkan(['--enable-dawn-features=vulkan_enable_f16_on_nvidia']),
  /** Everything, subgroup matrices (tensor cores) and full-resolution timestamps included. */
  experimental: vulkan([
    '--enable-unsafe-webgpu',
    '--enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  ]),
} satisfies Record<string, string[]>;

export type FlagSet = keyof typeof flagSets;

function vulkan(extra: string[]): string[] {
  return [
    '--disable-gpu-sandbox',
    '--ignore-gpu-blocklist',
    '--enable-features=Vulkan,VulkanFromANGLE,DefaultANGLEVulkan',
    '--use-angle=vulkan',
    '--disable-vulkan-surface',
    ...extra,
  ];
}

/** Playwright launch options for a headless Chromium with the flags of `set`. */
export function launchOptions(set: FlagSet = 'software'): {
  executablePath: string;
  headless: true;
  args: string[];
} {
  return { executablePath: chromiumPath(), headless: true, args: [...quiet, ...flagSets[set]] };
}

/**
 * Path of an installed Chromium-family browser: `CHROME_PATH`, then the usual places.
 *
 * @throws Error that says how to get one.
 */
export function chromiumPath(): string {
  const candidates = [
    process.env['CHROME_PATH'],
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/usr/bin/google-chrome-stable',
    '/usr/bin/microsoft-edge',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    `${process.env['PROGRAMFILES'] ?? 'C:\\Program Files'}\\Google\\Chrome\\Application\\chrome.exe`,
  ];
  const found = candidates.find((path) => path && existsSync(path));
  if (found) return found;
  if (process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    execFileSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 'inherit'] });
    execFileSync('apt-get', ['install', '-y', '-qq', 'chromium'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    return '/usr/bin/chromium';
  }
  throw new Error(
    'No Chromium or Chrome found. Install one, or set CHROME_PATH to the executable of a Chrome-based browser.',
  );
}
