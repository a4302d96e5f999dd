import { execFileSync, type StdioOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromium, playwrightCli } from './playwright.ts';

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
const flagSets = {
  /**
   * SwiftShader: WebGPU on the CPU. f32 only, subgroups of 4. Its own zeroing of workgroup memory compiles to a store for
   * each word (0.8 s in place of 0.2 for 4 KB), where Dawn's is a loop.
   */
  software: [
    '--enable-unsafe-webgpu',
    '--use-webgpu-adapter=swiftshader',
    '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
  ],
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

/** What Playwright's `chromium.launch` needs for a headless Chromium with the flags of a {@link FlagSet}. */
export interface LaunchOptions {
  executablePath: string;
  headless: true;
  args: string[];
}

/** Playwright launch options for a headless Chromium with the flags of `set`. */
export function launchOptions(set: FlagSet = 'software'): LaunchOptions {
  return { executablePath: chromiumPath(), headless: true, args: [...quiet, ...flagSets[set]] };
}

/** Whether `name` is one of the flag sets. */
export function isFlagSet(name: string): name is FlagSet {
  return Object.hasOwn(flagSets, name);
}

/**
 * Path of a Chromium-family browser: `CHROME_PATH`, then the usual places, then the one Playwright keeps. Where there
 * is none it is installed: by the system's package manager as root on Debian, else by Playwright into its own cache.
 *
 * @throws Error that says how to get one.
 */
export function chromiumPath(): string {
  const chosen = process.env['CHROME_PATH'];
  if (chosen) {
    if (existsSync(chosen)) return chosen;
    throw new Error(`CHROME_PATH is ${chosen}, which does not exist.`);
  }
  const found = [...usualPlaces(), playwrightChromium()].find((path) => path && existsSync(path));
  return found ?? install();
}

function usualPlaces(): string[] {
  if (process.platform === 'darwin') {
    return ['Google Chrome', 'Chromium', 'Microsoft Edge'].map(
      (app) => `/Applications/${app}.app/Contents/MacOS/${app}`,
    );
  }
  if (process.platform === 'win32') {
    return [process.env['PROGRAMFILES'], process.env['PROGRAMFILES(X86)'], process.env['LOCALAPPDATA']]
      .filter((folder) => folder !== undefined)
      .flatMap((folder) => [
        `${folder}\\Google\\Chrome\\Application\\chrome.exe`,
        `${folder}\\Microsoft\\Edge\\Application\\msedge.exe`,
      ]);
  }
  return ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'microsoft-edge'].map(
    (name) => `/usr/bin/${name}`,
  );
}

/** Where Playwright keeps its own Chromium, installed or not. */
function playwrightChromium(): string | undefined {
  try {
    return chromium.executablePath();
  } catch {
    // Playwright throws on systems that it has no Chromium for.
    return undefined;
  }
}

function install(): string {
  console.error('No Chromium found; installing one. CHROME_PATH names another that is already there.');
  try {
    return installFromDebian() ?? installFromPlaywright();
  } catch (cause) {
    throw new Error(
      'No Chromium or Chrome found, and installing one failed. Install it, or set CHROME_PATH to the executable of a Chrome-based browser.',
      { cause },
    );
  }
}

const quietly = { stdio: ['ignore', 'ignore', 'inherit'] satisfies StdioOptions };

/** Where it can be had so; Ubuntu's package of that name, for one, is none. */
function installFromDebian(): string | undefined {
  const canInstall =
    process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  if (!canInstall) return undefined;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    execFileSync('apt-get', ['update', '-qq'], quietly);
    // What it recommends is for desktops: a printer's settings, a battery's state.
    const options = ['-y', '-qq', '--no-install-recommends'];
    execFileSync('apt-get', ['install', ...options, 'chromium'], { ...quietly, env });
  } catch {
    // apt-get has said why.
    return undefined;
  }
  return existsSync('/usr/bin/chromium') ? '/usr/bin/chromium' : undefined;
}

function installFromPlaywright(): string {
  execFileSync(process.execPath, [playwrightCli(), 'install', 'chromium'], quietly);
  return chromium.executablePath();
}
