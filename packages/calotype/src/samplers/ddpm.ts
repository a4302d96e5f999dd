import { ConfigReader } from './config.ts';
import { alphaAt, alphaOf } from './ddim.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { mixAt, prediction, signalAndNoise } from './prediction.ts';
import { resolveRun } from './run.ts';
import { customTimesteps, spacedTimesteps } from './spacing.ts';
import type { SamplerDefinition } from './types.ts';

/** Smallest variance the reference lets the posterior have. */
const MIN_VARIANCE = 1e-20;

/** Denoising diffusion probabilistic models (Ho et al., arXiv 2006.11239, equations 6, 7 and 15). */
export const ddpm: SamplerDefinition = {
  names: ['ddpm'],
  className: 'DDPMScheduler',
  create(source) {
    const config = new ConfigReader('ddpm', source);
    config.refuseThresholding();
    const type = config.prediction(['epsilon', 'v_prediction', 'sample']);
    const schedule = noiseSchedule(config, ddpmBetas, 'exact');
    const { alphasCumprod } = schedule;
    const clampX0 = config.clamp(true);
    const large = readVariance(config);
    return {
      name: 'ddpm',
      className: 'DDPMScheduler',
      config: source,
      kind: 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const timesteps = options.timesteps
          ? customTimesteps(config, schedule.steps, options.timesteps)
          : spacedTimesteps(config, schedule.steps, steps, {
              dropLast: false,
              fractional: false,
              fallback: 'leading',
            });
        const builder = new PlanBuilder({ sampler: 'ddpm', firstIndex: startStep, clampX0 });
        for (let i = startStep; i < timesteps.length; i++) {
          const t = timesteps[i]!;
          const now = alphaOf(alphasCumprod, t);
          const next = i + 1 < timesteps.length ? alphaAt(alphasCumprod, timesteps[i + 1]!, 1) : 1;
          const stepAlpha = now / next;
          const stepBeta = 1 - stepAlpha;
          const { alpha, sigma } = signalAndNoise(now);
          const { x0 } = prediction(type, alpha, sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const posterior = Math.max(MIN_VARIANCE, ((1 - next) / (1 - now)) * stepBeta);
          const deviation = t > 0 ? Math.sqrt(large ? stepBeta : posterior) : 0;
          builder.push({
            timestep: t,
            next: combine(
              [(Math.sqrt(next) * stepBeta) / (1 - now), clean],
              [(Math.sqrt(stepAlpha) * (1 - next)) / (1 - now), builder.sample],
              [deviation, builder.noise],
            ),
            drawsNoise: t > 0,
            noised: mixAt(now),
          });
        }
        return builder.finish({ initNoiseSigma: 1 });
      },
    };
  },
};

/** Whether the larger of the paper's two variances is used. */
function readVariance(config: ConfigReader): boolean {
  const kinds = [
    'fixed_small',
    'fixed_small_log',
    'fixed_large',
    'fixed_large_log',
    'learned',
    'learned_range',
  ] as const;
  const kind = config.oneOf('variance_type', kinds, 'fixed_small');
  if (kind === 'learned' || kind === 'learned_range') {
    config.fail('variance_type', `'${kind}' takes the variance from the model's output; use 'fixed_small'.`);
  }
  if (kind === 'fixed_large_log') {
    config.fail(
      'variance_type',
      "'fixed_large_log' is the square root of a negative logarithm; use 'fixed_large'.",
    );
  }
  return kind === 'fixed_large';
}
