// Entry of every root command: `node scripts/bootstrap.mjs NAME [arguments]` runs scripts/NAME.ts. Plain JavaScript
// without dependencies, because on a fresh machine nothing but Node and npm is there; it installs what is missing.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'node_modules', '.calotype-install');
const wanted = createHash('sha256')
  .update(readFileSync(join(root, 'pnpm-lock.yaml')))
  .update(readFileSync(join(root, 'pnpm-workspace.yaml')))
  .digest('hex');

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) install();

const [name, ...args] = process.argv.slice(2);
const script = join(root, 'scripts', `${name}.ts`);
if (!name || !existsSync(script)) {
  console.error(`usage: node scripts/bootstrap.mjs NAME [arguments], NAME being a script in scripts/`);
  process.exit(2);
}
const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href;
const { status, signal } = spawnSync(process.execPath, ['--import', tsx, script, ...args], {
  stdio: 'inherit',
});
if (signal) console.error(`${name} was ended by ${signal}.`);
process.exit(status ?? 1);

function install() {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  console.error(`Installing dependencies (${packageManager})`);
  const env = { ...process.env, npm_config_update_notifier: 'false' };
  const { status } = spawnSync(
    'npx',
    [
      '--yes',
      packageManager,
      'install',
      '--frozen-lockfile',
      '--config.confirmModulesPurge=false',
      '--reporter=append-only',
    ],
    {
      cwd: root,
      env,
      stdio: ['ignore', process.stderr, process.stderr],
      shell: process.platform === 'win32',
    },
  );
  if (status !== 0) {
    console.error('Installing the dependencies failed; see the lines above.');
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}
