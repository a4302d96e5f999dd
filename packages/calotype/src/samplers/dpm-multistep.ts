import { ConfigReader } from './config.ts';
import { dpmUpdate, readDpmSettings, type Differences } from './dpm-update.ts';
import { level } from './lambda.ts';
import { combine, PlanBuilder } from './linear.ts';
import { ddpmBetas, noiseSchedule } from './noise-schedule.ts';
import { prediction } from './prediction.ts';
import { resolveRun } from './run.ts';
import { solverSchedule } from './sigma-schedule.ts';
import { checkFlow } from './solver-flow.ts';
import type { Row, SamplerDefinition } from './types.ts';

/** Runs shorter than this end with lower orders. */
const SHORT_RUN = 15;

/** DPM-Solver and DPM-Solver++, multistep, orders 1 to 3 (Lu et al., arXiv 2206.00927 and 2211.01095). */
export const dpmMultistep: SamplerDefinition = {
  names: ['dpm++-2m', 'dpm-multistep'],
  className: 'DPMSolverMultistepScheduler',
  create(source) {
    const config = new ConfigReader('dpm++-2m', source);
    const settings = readDpmSettings(config);
    const cleanSpace = settings.algorithm.endsWith('++');
    const type = config.prediction(
      cleanSpace
        ? ['epsilon', 'v_prediction', 'sample', 'flow_prediction']
        : ['epsilon', 'v_prediction', 'sample'],
    );
    const flow = checkFlow(config, type);
    const schedule = noiseSchedule(config, ddpmBetas, 'floored');
    const lowerOrderFinal = config.boolean('lower_order_final', true);
    const eulerAtFinal = config.boolean('euler_at_final', false);
    const stochastic = settings.algorithm.startsWith('sde');
    return {
      name: 'dpm++-2m',
      className: 'DPMSolverMultistepScheduler',
      config: source,
      kind: flow ? 'flow' : 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const end = settings.zeroEnd ? 'zero' : 'sigma_min';
        const { timesteps, sigmas } = solverSchedule(config, schedule, steps, options, {
          supported: ['karras', 'lu', 'exponential', 'beta', 'flow'],
          placedEnd: end,
          interpolatedEnd: end,
          spaced: true,
          lambdaClipping: true,
          cutCosine: true,
        });
        const levels = [...sigmas].map((sigma) => level(sigma, flow));
        const count = timesteps.length;
        const short = lowerOrderFinal && count < SHORT_RUN;
        const builder = new PlanBuilder({
          sampler: 'dpm++-2m',
          slots: settings.order - 1,
          firstIndex: startStep,
        });
        for (let i = startStep; i < count; i++) {
          const now = levels[i]!;
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const value = cleanSpace
            ? clean
            : combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          const atEnd = i === count - 1 && (eulerAtFinal || short || settings.zeroEnd);
          const beforeEnd = i === count - 2 && short;
          const known = i - startStep + 1;
          const order = atEnd ? 1 : Math.min(settings.order, known, beforeEnd ? 2 : 3);
          const differences = multistepDifferences(
            [value, ...builder.slots].slice(0, order),
            Array.from({ length: order + 1 }, (_, k) => levels[i + 1 - k]!.lambda),
          );
          builder.push({
            timestep: timesteps[i]!,
            next: dpmUpdate(
              settings,
              now,
              levels[i + 1]!,
              builder.sample,
              builder.noise,
              differences,
              order === 2 && !settings.heun,
            ),
            history: [value, ...builder.slots.slice(0, -1)],
            drawsNoise: stochastic,
            noised: { x0: now.alpha, noise: now.sigma },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(startStep) });
      },
    };
  },
};

/** Differences from this and earlier predictions, newest first; `lambdas` starts with the level stepped to. */
function multistepDifferences(values: readonly Row[], lambdas: readonly number[]): Differences {
  const [m0, m1, m2] = values;
  if (!m1) return { d0: m0! };
  const h = lambdas[0]! - lambdas[1]!;
  const r0 = (lambdas[1]! - lambdas[2]!) / h;
  const newer = combine([1 / r0, m0!], [-1 / r0, m1]);
  if (!m2) return { d0: m0!, d1: newer };
  const r1 = (lambdas[2]! - lambdas[3]!) / h;
  const older = combine([1 / r1, m1], [-1 / r1, m2]);
  return {
    d0: m0!,
    d1: combine([1 + r0 / (r0 + r1), newer], [-r0 / (r0 + r1), older]),
    d2: combine([1 / (r0 + r1), newer], [-1 / (r0 + r1), older]),
  };
}
