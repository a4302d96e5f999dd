import { SamplerError } from '../errors.ts';
import { ddim } from './ddim.ts';
import { ddpm } from './ddpm.ts';
import { deis } from './deis.ts';
import { dpmMultistep } from './dpm-multistep.ts';
import { dpmSde } from './dpm-sde.ts';
import { dpmSinglestep } from './dpm-singlestep.ts';
import { eulerAncestral } from './euler-ancestral.ts';
import { euler } from './euler.ts';
import { builtInFields } from './fields.ts';
import { flowEuler } from './flow-euler.ts';
import { flowHeun } from './flow-heun.ts';
import { heun } from './heun.ts';
import { kdpm2, kdpm2Ancestral } from './kdpm2.ts';
import { lcm } from './lcm.ts';
import { lms } from './lms.ts';
import { pndm } from './pndm.ts';
import { saSolver } from './sa-solver.ts';
import { tcd } from './tcd.ts';
import type { Sampler, SamplerDefinition, SchedulerConfig } from './types.ts';
import { unipc } from './unipc.ts';

const builtIn: readonly SamplerDefinition[] = [
  ddim,
  pndm,
  euler,
  eulerAncestral,
  flowEuler,
  lcm,
  dpmMultistep,
  unipc,
  dpmSinglestep,
  dpmSde,
  heun,
  flowHeun,
  lms,
  deis,
  ddpm,
  tcd,
  kdpm2,
  kdpm2Ancestral,
  saSolver,
];

/** Common names that stand for a class with some of its options set. */
const presets: Readonly<Record<string, { sampler: string; config: SchedulerConfig }>> = {
  'dpm++-2m-karras': { sampler: 'dpm++-2m', config: { use_karras_sigmas: true } },
  'dpm++-2m-sde': { sampler: 'dpm++-2m', config: { algorithm_type: 'sde-dpmsolver++' } },
  'dpm++-2m-sde-karras': {
    sampler: 'dpm++-2m',
    config: { algorithm_type: 'sde-dpmsolver++', use_karras_sigmas: true },
  },
  'dpm++-3m': { sampler: 'dpm++-2m', config: { solver_order: 3 } },
  'dpm++-sde-karras': { sampler: 'dpm-sde', config: { use_karras_sigmas: true } },
  'euler-karras': { sampler: 'euler', config: { use_karras_sigmas: true } },
  'lms-karras': { sampler: 'lms', config: { use_karras_sigmas: true } },
  'dpm2-karras': { sampler: 'kdpm2', config: { use_karras_sigmas: true } },
};

const byName = new Map<string, SamplerDefinition>();
for (const definition of builtIn) add(definition);

/**
 * Adds a sampler, or replaces the one of the same name. It is then found by its names and by its class name in a
 * model's `scheduler_config.json`.
 */
export function registerSampler(definition: SamplerDefinition): void {
  add(definition);
}

/** Names that {@link createSampler} knows, one per sampler and preset. */
export function samplerNames(): string[] {
  return [...new Set([...byName.values()].map((definition) => definition.names[0])), ...Object.keys(presets)];
}

/** Those of {@link samplerNames} that can sample the model with this scheduler config. */
export function samplerNamesFor(model: SchedulerConfig): string[] {
  const own = fitting(model, model);
  return samplerNames().filter((name) => {
    const sampler = fitting(name, model);
    return sampler && (!own || sampler.kind === own.kind);
  });
}

/**
 * Fields of a scheduler config that no sampler knows: what they ask for is not done. Those with a leading underscore
 * (`_class_name`) describe the file. A field of another class is none of them: configs keep their fields when the
 * sampler is changed, as in diffusers.
 */
export function unknownFields(config: SchedulerConfig): string[] {
  const own = new Set([...byName.values()].flatMap(({ fields = [] }) => fields));
  return Object.keys(config).filter(
    (field) =>
      !field.startsWith('_') &&
      (config[field] ?? null) !== null &&
      !builtInFields.has(field) &&
      !own.has(field),
  );
}

/** The sampler, if it can do what the config asks for. */
function fitting(choice: string | SchedulerConfig, model: SchedulerConfig): Sampler | undefined {
  try {
    const sampler = createSampler(choice, model);
    sampler.plan({ numInferenceSteps: 4 });
    return sampler;
  } catch (error) {
    if (error instanceof SamplerError) return undefined;
    throw error;
  }
}

/**
 * Makes a sampler.
 *
 * @param choice A friendly name (`'ddim'`, `'dpm++-2m-karras'`), a diffusers class name, or a config with `_class_name`.
 * @param model The model's own scheduler config: it fills in whatever `choice` leaves open, also for another class,
 *   as `from_config` does in diffusers. Fields that a class does not know are ignored.
 * @example createSampler('euler', await readJson('scheduler/scheduler_config.json')).plan({ numInferenceSteps: 20 })
 */
export function createSampler(choice: string | SchedulerConfig, model: SchedulerConfig = {}): Sampler {
  const preset = typeof choice === 'string' ? presets[normalise(choice)] : undefined;
  const merged: SchedulerConfig =
    typeof choice === 'string' ? { ...model, ...preset?.config } : { ...model, ...choice };
  const wanted = typeof choice === 'string' ? (preset?.sampler ?? choice) : merged['_class_name'];
  if (typeof wanted !== 'string') {
    throw new SamplerError('unknown', '_class_name', 'is missing from the scheduler config.');
  }
  const definition = byName.get(normalise(wanted));
  if (definition === undefined) {
    throw new SamplerError(
      wanted,
      typeof choice === 'string' ? 'sampler' : '_class_name',
      `is not known. Use one of ${samplerNames().join(', ')}, or add it with registerSampler.`,
    );
  }
  return definition.create({ ...merged, _class_name: definition.className });
}

function add(definition: SamplerDefinition): void {
  for (const name of [...definition.names, definition.className]) byName.set(normalise(name), definition);
}

function normalise(name: string): string {
  return name.toLowerCase().replaceAll(/[\s_]+/g, '-');
}
