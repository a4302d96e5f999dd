import { ConfigReader } from './config.ts';
import { ancestralSplit } from './euler-ancestral.ts';
import { combine, PlanBuilder } from './linear.ts';
import { noiseSchedule, stableLinearBetas } from './noise-schedule.ts';
import { denoised } from './prediction.ts';
import { resolveRun } from './run.ts';
import { karrasFamilySchedule, startSigma } from './sigma-schedule.ts';
import { timestepOf } from './sigmas.ts';
import type { Sampler, SamplerDefinition, SchedulerConfig } from './types.ts';

/** The midpoint method in σ, with the middle taken in ln σ: DPM-Solver-2 as k-diffusion has it (arXiv 2206.00364). */
export const kdpm2: SamplerDefinition = {
  names: ['kdpm2', 'dpm2'],
  className: 'KDPM2DiscreteScheduler',
  create: (source) => create(source, 'kdpm2', 'KDPM2DiscreteScheduler', false),
};

/** The same with ancestral noise. */
export const kdpm2Ancestral: SamplerDefinition = {
  names: ['kdpm2-ancestral', 'dpm2-a'],
  className: 'KDPM2AncestralDiscreteScheduler',
  create: (source) => create(source, 'kdpm2-ancestral', 'KDPM2AncestralDiscreteScheduler', true),
};

function create(source: SchedulerConfig, name: string, className: string, ancestral: boolean): Sampler {
  const config = new ConfigReader(name, source);
  const type = config.prediction(['epsilon', 'v_prediction']);
  const schedule = noiseSchedule(config, stableLinearBetas, 'unknown');
  return {
    name,
    className,
    config: source,
    kind: 'diffusion',
    predictionType: type,
    callsPerStep: 2,
    plan(options) {
      const { steps, startStep } = resolveRun(config, options);
      const { timesteps, sigmas } = karrasFamilySchedule(config, schedule, steps, options, {
        supported: ['karras', 'exponential', 'beta'],
        roundKarras: true,
      });
      const builder = new PlanBuilder({ sampler: name, slots: 1, firstIndex: 2 * startStep });
      const { sample, noise } = builder;
      const base = builder.slots[0]!;
      const slopeAt = (sigma: number): Float64Array => {
        const x0 = denoised(type, sigma);
        const clean = builder.predictX0(x0.sample, x0.output);
        return combine([1 / sigma, sample], [-1 / sigma, clean]);
      };
      for (let i = startStep; i < timesteps.length; i++) {
        const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
        const { up, down } = ancestral ? ancestralSplit(sigma, next) : { up: 0, down: next };
        const last = i === timesteps.length - 1;
        // Where float32 leaves nothing of the level to go down to, the midpoint is still to be a level.
        const middle = last ? 0 : Math.fround(Math.sqrt(sigma * (down || next ** 2 / sigma)));
        builder.push({
          timestep: timesteps[i]!,
          inputScale: 1 / Math.sqrt(sigma ** 2 + 1),
          next: combine([1, sample], [middle - sigma, slopeAt(sigma)]),
          history: [sample],
          drawsNoise: ancestral,
          noised: { x0: 1, noise: sigma },
        });
        if (last) break;
        builder.push({
          timestep: Math.fround(timestepOf(schedule, middle)),
          inputScale: 1 / Math.sqrt(middle ** 2 + 1),
          next: combine([1, base], [down - sigma, slopeAt(middle)], [up, noise]),
          drawsNoise: ancestral,
          noised: { x0: 1, noise: next },
        });
      }
      return builder.finish({
        initNoiseSigma: startSigma(config, sigmas),
        sigmas: repeated(sigmas).slice(2 * startStep),
      });
    },
  };
}

/** Levels as diffusers lists them for these two classes: the final zero three times. */
function repeated(sigmas: Float64Array): Float64Array {
  const rest = [...sigmas.subarray(1)].flatMap((sigma) => [sigma, sigma]);
  return Float64Array.of(sigmas[0]!, ...rest, sigmas[sigmas.length - 1]!);
}
