import { SamplerError } from '../errors.ts';
import { builtInFields } from './fields.ts';
import { flowEuler } from './flow-euler.ts';
import { flowHeun } from './flow-heun.ts';
import type { Sampler, SamplerDefinition, SchedulerConfig } from './types.ts';

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

/** Those that are there: the flows from the beginning, all others once `registry.ts` is loaded. */
const byName = new Map<string, SamplerDefinition>();
for (const definition of [flowEuler, flowHeun]) addDefinition(definition);

/** Adds a sampler, or replaces the one of the same name. */
export function addDefinition(definition: SamplerDefinition): void {
  for (const name of [...definition.names, definition.className]) byName.set(normalise(name), definition);
}

export function definitions(): SamplerDefinition[] {
  return [...new Set(byName.values())];
}

export function presetNames(): string[] {
  return Object.keys(presets);
}

/** The sampler that is chosen, if it is there. See `createSampler`. */
export function findSampler(
  choice: string | SchedulerConfig,
  model: SchedulerConfig,
): { sampler: Sampler } | { missing: SamplerError } {
  const preset = typeof choice === 'string' ? presets[normalise(choice)] : undefined;
  const merged: SchedulerConfig =
    typeof choice === 'string' ? { ...model, ...preset?.config } : { ...model, ...choice };
  const wanted = typeof choice === 'string' ? (preset?.sampler ?? choice) : merged['_class_name'];
  if (typeof wanted !== 'string') {
    throw new SamplerError('unknown', '_class_name', 'is missing from the scheduler config.');
  }
  const definition = byName.get(normalise(wanted));
  if (definition) return { sampler: definition.create({ ...merged, _class_name: definition.className }) };
  const names = [...definitions().map(({ names: [name] }) => name), ...presetNames()].join(', ');
  const missing = new SamplerError(
    wanted,
    typeof choice === 'string' ? 'sampler' : '_class_name',
    `is not known. Use one of ${names}, or add it with registerSampler.`,
  );
  return { missing };
}

/**
 * Fields of a scheduler config that no sampler knows: what they ask for is not done. Those with a leading underscore
 * (`_class_name`) describe the file. A field of another class is none of them: configs keep their fields when the
 * sampler is changed, as in diffusers.
 */
export function unknownFields(config: SchedulerConfig): string[] {
  const own = new Set(definitions().flatMap(({ fields = [] }) => fields));
  return Object.keys(config).filter(
    (field) =>
      !field.startsWith('_') &&
      (config[field] ?? null) !== null &&
      !builtInFields.has(field) &&
      !own.has(field),
  );
}

function normalise(name: string): string {
  return name.toLowerCase().replaceAll(/[\s_]+/g, '-');
}
