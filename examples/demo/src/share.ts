/** What a shared link says; everything may be missing. */
export interface Shared {
  prompt?: string;
  negativePrompt?: string;
  steps?: number;
  guidanceScale?: number;
  width?: number;
  height?: number;
  sampler?: string;
  seed?: number;
  /** Address of the model's folder, where it is not the page's own. */
  model?: string;
}

const MAX_PROMPT = 2000;

/** A link's hash: `#p=a+red+panda&steps=4&seed=7`. */
export function toHash(shared: Shared): string {
  const entries = new URLSearchParams();
  const add = (key: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') entries.set(key, String(value));
  };
  add('p', shared.prompt);
  add('n', shared.negativePrompt);
  add('steps', shared.steps);
  add('g', shared.guidanceScale);
  if (shared.width && shared.height) add('size', `${shared.width}x${shared.height}`);
  add('sampler', shared.sampler);
  add('seed', shared.seed);
  add('model', shared.model);
  return `#${entries.toString()}`;
}

/** Reads a hash. What is out of bounds or malformed counts as missing: links come from strangers. */
export function fromHash(hash: string): Shared {
  const entries = new URLSearchParams(hash.replace(/^#/, ''));
  const shared: Shared = {};
  const prompt = entries.get('p')?.slice(0, MAX_PROMPT);
  const negativePrompt = entries.get('n')?.slice(0, MAX_PROMPT);
  const steps = numberIn(entries.get('steps'), 1, 150);
  const guidanceScale = numberIn(entries.get('g'), 0, 50, false);
  const seed = numberIn(entries.get('seed'), 0, Number.MAX_SAFE_INTEGER);
  const [width, height] = (entries.get('size') ?? '').split('x').map((side) => numberIn(side, 8, 4096));
  const sampler = entries.get('sampler');
  const model = entries.get('model');
  if (prompt) shared.prompt = prompt;
  if (negativePrompt) shared.negativePrompt = negativePrompt;
  if (steps !== undefined) shared.steps = steps;
  if (guidanceScale !== undefined) shared.guidanceScale = guidanceScale;
  if (seed !== undefined) shared.seed = seed;
  if (width && height) Object.assign(shared, { width, height });
  if (sampler && /^[\w+-]{1,40}$/.test(sampler)) shared.sampler = sampler;
  if (model) shared.model = model;
  return shared;
}

function numberIn(
  text: string | null | undefined,
  min: number,
  max: number,
  whole = true,
): number | undefined {
  if (!text?.trim()) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || value < min || value > max) return undefined;
  return whole && !Number.isInteger(value) ? undefined : value;
}
