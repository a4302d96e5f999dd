import { parseArgs } from 'node:util';
import { isFlagSet, type FlagSet } from '../chromium.ts';
import type { GenerateRequest } from './types.ts';

export const usage = `usage: npm run generate -- "a prompt" [options]
  --out FILE                       where the PNG goes (picture.png)
  --model DIR|URL                  model folder in the diffusers ONNX layout; Pocket by default
  --negative TEXT                  what to steer away from
  --steps N                        denoising steps; the model's own by default
  --guidance N                     guidance scale, 1 or less is none; the model's own by default
  --size WIDTHxHEIGHT              in pixels; the model's own size by default
  --seed N                         random by default
  --sampler NAME                   ddim, pndm, euler, euler-ancestral, …; the model's own by default
  --precision f32|f16|packed-f16   how activations are stored; the best the GPU has by default
  --flags software|stock|f16|experimental   Chromium's GPU; by default a real one where there is one`;

/** A command line, understood. */
export interface GenerateCommand {
  request: Omit<GenerateRequest, 'model'>;
  out: string;
  model: string | undefined;
  flags: FlagSet | undefined;
}

/** Reads the command line. Throws an error whose message is for the user. */
export function parseCommand(args: string[]): GenerateCommand {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      out: { type: 'string', default: 'picture.png' },
      model: { type: 'string' },
      negative: { type: 'string' },
      steps: { type: 'string' },
      guidance: { type: 'string' },
      size: { type: 'string' },
      seed: { type: 'string' },
      sampler: { type: 'string' },
      precision: { type: 'string' },
      flags: { type: 'string' },
    },
  });
  const [prompt, ...rest] = positionals;
  if (prompt === undefined) throw new Error('What shall the picture show?');
  if (rest.length) throw new Error(`Put the prompt in quotes: '${rest[0]}' came after '${prompt}'.`);
  const { flags, precision } = values;
  if (flags !== undefined && !isFlagSet(flags)) throw new Error(`--flags ${flags} is not known.`);
  const size = values.size === undefined ? undefined : parseSize(values.size);
  const steps = parseNumber('steps', values.steps);
  const guidance = parseNumber('guidance', values.guidance);
  const seed = parseNumber('seed', values.seed);
  return {
    out: values.out,
    model: values.model,
    flags,
    request: {
      prompt,
      ...(values.negative !== undefined && { negativePrompt: values.negative }),
      ...(steps !== undefined && { numInferenceSteps: steps }),
      ...(guidance !== undefined && { guidanceScale: guidance }),
      ...(seed !== undefined && { seed }),
      ...(values.sampler !== undefined && { sampler: values.sampler }),
      ...(precision !== undefined && { precision: parsePrecision(precision) }),
      ...size,
    },
  };
}

function parseSize(text: string): { width: number; height: number } {
  const match = /^(\d+)(?:[x×](\d+))?$/i.exec(text);
  if (!match) throw new Error(`--size ${text}: expected WIDTHxHEIGHT, such as 512x768.`);
  return { width: Number(match[1]), height: Number(match[2] ?? match[1]) };
}

function parseNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`--${name} ${text}: expected a number.`);
  return value;
}

function parsePrecision(text: string): NonNullable<GenerateRequest['precision']> {
  if (text === 'f32' || text === 'f16' || text === 'packed-f16') return text;
  throw new Error(`--precision ${text}: expected f32, f16 or packed-f16.`);
}
