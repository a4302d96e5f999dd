import { ConfigReader } from './config.ts';
import { flowSchedule } from './flow-schedule.ts';
import { combine, PlanBuilder } from './linear.ts';
import { resolveRun } from './run.ts';
import type { SamplerDefinition } from './types.ts';

/** Euler steps along a rectified flow (Liu et al., arXiv 2209.03003; Esser et al., arXiv 2403.03206). */
export const flowEuler: SamplerDefinition = {
  names: ['flow-euler'],
  className: 'FlowMatchEulerDiscreteScheduler',
  create(source) {
    const config = new ConfigReader('flow-euler', source);
    const stochastic = config.boolean('stochastic_sampling', false);
    return {
      name: 'flow-euler',
      className: 'FlowMatchEulerDiscreteScheduler',
      config: source,
      kind: 'flow',
      predictionType: 'flow_prediction',
      callsPerStep: 1,
      plan(options) {
        const run = resolveRun(config, options, { custom: ['timesteps', 'sigmas'], flow: true });
        const { timesteps, sigmas } = flowSchedule(config, run.steps, options);
        const builder = new PlanBuilder({ sampler: 'flow-euler', firstIndex: run.startStep });
        const { sample, output, noise } = builder;
        for (let i = run.startStep; i < timesteps.length; i++) {
          const sigma = sigmas[i]!;
          const next = sigmas[i + 1]!;
          const clean = builder.predictX0(1, -sigma);
          builder.push({
            timestep: timesteps[i]!,
            next: stochastic
              ? combine([1 - next, clean], [next, noise])
              : combine([1, sample], [next - sigma, output]),
            drawsNoise: stochastic,
            noised: { x0: 1 - sigma, noise: sigma },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(run.startStep) });
      },
    };
  },
};
