import { generationDefaultsOf, type ModelFolder, type SchedulerConfig } from 'calotype';
import type { ModelManifest } from '../models/bundled.ts';

/** What the form needs to know of a model. */
export interface ModelFacts {
  name: string | undefined;
  description: string | undefined;
  randomWeights: boolean;
  defaults: { steps: number; guidanceScale: number; width: number; height: number };
  /** Sizes to offer, the default first. */
  sizes: readonly (readonly [width: number, height: number])[];
  /** Class that the model's own scheduler config names. */
  ownSampler: string | undefined;
  examples: readonly string[];
  /** What it can be asked for, by kind. */
  suggestions: Readonly<Record<string, readonly string[]>>;
  /** Prompts to be filled in from the suggestions. */
  templates: readonly string[];
}

/** What a model's folder says of itself; `manifest` stands in where it is silent. */
export async function readManifest(folder: ModelFolder, manifest: ModelManifest): Promise<ModelManifest> {
  return { ...manifest, ...checkedManifest((await folder.json('calotype.json')) ?? {}) };
}

/** What the form needs, from a model's manifest and configs. */
export async function readFacts(folder: ModelFolder, told: ModelManifest): Promise<ModelFacts> {
  const [scheduler, unet, vae] = await Promise.all([
    folder.json('scheduler/scheduler_config.json'),
    folder.json('unet/config.json'),
    folder.json('vae_decoder/config.json'),
  ]);
  const blocks = vae?.['block_out_channels'];
  const scale = Array.isArray(blocks) ? 2 ** (blocks.length - 1) : 8;
  const native = (positive(unet?.['sample_size']) ?? 64) * scale;
  const width = told.defaults?.width ?? native;
  const height = told.defaults?.height ?? native;
  const guessed = guessDefaults(scheduler ?? {});
  const own = generationDefaultsOf(folder.index);
  return {
    name: told.name,
    description: told.description,
    randomWeights: told.randomWeights ?? false,
    defaults: {
      steps: told.defaults?.steps ?? own.numInferenceSteps ?? guessed.steps,
      guidanceScale: told.defaults?.guidanceScale ?? own.guidanceScale ?? guessed.guidanceScale,
      width,
      height,
    },
    sizes: offeredSizes(width, height),
    ownSampler: text(scheduler?.['_class_name'])?.replace(/Scheduler$/, ''),
    examples: told.examples ?? [],
    suggestions: told.suggestions ?? {},
    templates: told.templates ?? [],
  };
}

/** Distilled models say so by their scheduler alone; others get what Stable Diffusion is commonly run with. */
function guessDefaults(scheduler: SchedulerConfig): { steps: number; guidanceScale: number } {
  const name = text(scheduler['_class_name']) ?? '';
  if (/LCM|TCD/.test(name)) return { steps: 4, guidanceScale: 1 };
  // SD-Turbo's config: Euler with trailing timesteps.
  if (name.startsWith('Euler') && scheduler['timestep_spacing'] === 'trailing') {
    return { steps: 4, guidanceScale: 1 };
  }
  return { steps: 25, guidanceScale: 7.5 };
}

function offeredSizes(width: number, height: number): [number, number][] {
  const side = Math.max(width, height);
  const short = (side / 4) * 3;
  const candidates: [number, number][] = [
    [width, height],
    [short, side],
    [side, short],
    [side / 2, side / 2],
  ];
  return candidates.filter(([w, h]) => w % 8 === 0 && h % 8 === 0 && Math.min(w, h) >= 64);
}

function checkedManifest(json: Record<string, unknown>): ModelManifest {
  const defaults = (json['defaults'] ?? {}) as Record<string, unknown>;
  const steps = positive(defaults['steps']);
  const width = positive(defaults['width']);
  const height = positive(defaults['height']);
  const guidanceScale = defaults['guidanceScale'];
  const { name, description, randomWeights, suggestions } = json;
  const examples = texts(json['examples'], 12);
  const templates = texts(json['templates'], 50);
  const vocabulary = texts(json['vocabulary'], 20_000);
  return {
    ...(typeof name === 'string' && { name }),
    ...(typeof description === 'string' && { description }),
    ...(typeof randomWeights === 'boolean' && { randomWeights }),
    ...(json['defaults'] !== undefined && {
      defaults: {
        ...(steps && { steps }),
        ...(typeof guidanceScale === 'number' && { guidanceScale }),
        ...(width && { width }),
        ...(height && { height }),
      },
    }),
    ...(examples && { examples }),
    ...(templates && { templates }),
    ...(vocabulary && { vocabulary }),
    ...(typeof suggestions === 'object' &&
      suggestions !== null && {
        suggestions: Object.fromEntries(
          Object.entries(suggestions)
            .slice(0, 12)
            .map(([kind, words]) => [kind, texts(words, 60) ?? []]),
        ),
      }),
  };
}

/** The strings of a list, at most `most` of them; undefined where it is no list. */
function texts(value: unknown, most: number): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(0, most) : undefined;
}

function positive(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
