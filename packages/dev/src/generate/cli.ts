import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hostPages, type PageHost } from '../browser-page.ts';
import type { FlagSet } from '../chromium.ts';
import { parseCommand, usage, type GenerateCommand } from './options.ts';
import { ProgressBar } from './progress-bar.ts';
import type { GenerateOutcome, GeneratePage, ProgressEvent } from './types.ts';

declare const calotypeGenerate: GeneratePage;

/**
 * The `generate` command. Resolves to its exit code.
 *
 * @param defaultModel folder of the model to use where the command line names none
 */
export async function main(args: string[], pageDir: string, defaultModel: string): Promise<number> {
  let command: GenerateCommand;
  try {
    command = parseCommand(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return 2;
  }
  const model = command.model ?? defaultModel;
  const isUrl = /^https?:/.test(model);
  if (!isUrl && !existsSync(join(model, 'model_index.json'))) {
    console.error(`${model} holds no model_index.json. --model wants a folder in the diffusers ONNX layout.`);
    return 2;
  }
  const started = performance.now();
  await using host = await openHost(pageDir, isUrl ? {} : { '/model/': resolve(model) }, command.flags);
  const bar = new ProgressBar();
  try {
    const outcome = await generate(host, { ...command.request, model: isUrl ? model : '/model/' }, bar);
    await writeFile(command.out, Buffer.from(outcome.png, 'base64'));
    for (const warning of outcome.warnings) console.error(warning);
    console.log(describe(outcome, command.out, performance.now() - started));
    return 0;
  } catch (error) {
    bar.end();
    console.error(withoutStack(error));
    return 1;
  }
}

/** The message alone: an error from a page carries the page's stack in its own. */
function withoutStack(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^page\.evaluate: /, '').replace(/\n {4}at [\s\S]*/, '');
}

/** A browser with a real GPU where there is one, else with the software adapter. */
async function openHost(
  pageDir: string,
  mounts: Record<string, string>,
  flags: FlagSet | undefined,
): Promise<PageHost> {
  if (flags) return hostPages({ pageDir, mounts, flags });
  const host = await hostPages({ pageDir, mounts, flags: 'stock' });
  const page = await host.open('index.html');
  const hasAdapter = await page.evaluate(() => calotypeGenerate.hasAdapter());
  await page.close();
  if (hasAdapter) return host;
  await host[Symbol.asyncDispose]();
  console.error('No GPU that Chromium can use; drawing on the CPU, which is slow.');
  return hostPages({ pageDir, mounts, flags: 'software' });
}

async function generate(
  host: PageHost,
  request: Parameters<GeneratePage['generate']>[0],
  bar: ProgressBar,
): Promise<GenerateOutcome> {
  const page = await host.open('index.html', (line) => console.error(line));
  await page.exposeFunction('reportProgress', (event: ProgressEvent) => bar.show(event));
  const crashed = new Promise<never>((_, reject) => {
    page.once('crash', () =>
      reject(new Error('The page crashed; the model may need more memory than there is.')),
    );
  });
  const outcome = page.evaluate((asked) => calotypeGenerate.generate(asked), request);
  const result = await Promise.race([outcome, crashed]);
  bar.end();
  return result;
}

function describe(outcome: GenerateOutcome, file: string, totalMs: number): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
  const { adapter, precision, width, height, seed, steps, guidanceScale } = outcome;
  return [
    `${file}: ${width}×${height}, seed ${seed}, ${steps} steps, guidance ${guidanceScale}`,
    `${adapter}, ${precision}`,
    `load ${seconds(outcome.loadMs)}, prompt ${seconds(outcome.encodeMs)}, denoising ${seconds(outcome.denoiseMs)}, ` +
      `decoding ${seconds(outcome.decodeMs)}, ${seconds(totalMs)} in all`,
  ].join('\n');
}
