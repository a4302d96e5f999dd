import { SamplerError } from '../errors.ts';
import { ddim } from './ddim.ts';
import { ddpm } from './ddpm.ts';
import { deis } from './deis.ts';
import { dpmMultistep } from './dpm-multistep.ts';
import { dpmSde } from './dpm-sde.ts';
import { dpmSinglestep } from './dpm-singlestep.ts';
import { eulerAncestral } from './euler-ancestral.ts';
import { euler } from './euler.ts';
import { heun } from './heun.ts';
import { kdpm2, kdpm2Ancestral } from './kdpm2.ts';
import { lcm } from './lcm.ts';
import { lms } from './lms.ts';
import { addDefinition, definitions, findSampler, presetNames } from './names.ts';
import { pndm } from './pndm.ts';
import { saSolver } from './sa-solver.ts';
import { tcd } from './tcd.ts';
import type { Sampler, SamplerDefinition, SchedulerConfig } from './types.ts';
import { unipc } from './unipc.ts';

/** All but the flows, which are there without this module. */
const builtIn: readonly SamplerDefinition[] = [
  ddim,
  pndm,
  euler,
  eulerAncestral,
  lcm,
  dpmMultistep,
  unipc,
  dpmSinglestep,
  dpmSde,
  heun,
  lms,
  deis,
  ddpm,
  tcd,
  kdpm2,
  kdpm2Ancestral,
  saSolver,
];

for (const definition of builtIn) addDefinition(definition);

/**
 * Adds a sampler, or replaces the one of the same name. It is then found by its names and by its class name in a
 * model's `scheduler_config.json`.
 */
export function registerSampler(definition: SamplerDefinition): void {
  addDefinition(definition);
}

/** Names that {@link createSampler} knows, one per sampler and preset. */
export function samplerNames(): string[] {
  return [...definitions().map(({ names: [name] }) => name), ...presetNames()];
}

/** Those of {@link samplerNames} that can sample the model with this scheduler config. */
export function samplerNamesFor(model: SchedulerConfig): string[] {
  const own = fitting(model, model);
  return samplerNames().filter((name) => {
    const sampler = fitting(name, model);
    return sampler && (!own || sampler.kind === own.kind);
  });
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
  const found = findSampler(choice, model);
  if ('missing' in found) throw found.missing;
  return found.sampler;
}
