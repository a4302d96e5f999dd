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

/**
 * DPM-Solver and DPM-Solver++, singlestep, orders 1 to 3 (Lu et al., arXiv 2206.00927 and 2211.01095): groups of
 * calls, each group starting over from the sample it began with.
 */
export const dpmSinglestep: SamplerDefinition = {
  names: ['dpm++-2s', 'dpm-singlestep'],
  className: 'DPMSolverSinglestepScheduler',
  create(source) {
    const config = new ConfigReader('dpm++-2s', source);
    const settings = readDpmSettings(config);
    const cleanSpace = settings.algorithm.endsWith('++');
    const type = config.prediction(
      cleanSpace
        ? ['epsilon', 'v_prediction', 'sample', 'flow_prediction']
        : ['epsilon', 'v_prediction', 'sample'],
    );
    const flow = checkFlow(config, type);
    const schedule = noiseSchedule(config, ddpmBetas, 'unknown');
    const lowerOrderFinal = config.boolean('lower_order_final', false);
    const stochastic = settings.algorithm.startsWith('sde');
    return {
      name: 'dpm++-2s',
      className: 'DPMSolverSinglestepScheduler',
      config: source,
      kind: flow ? 'flow' : 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options, { custom: ['timesteps'] });
        const end = settings.zeroEnd ? 'zero' : 'sigma_min';
        const { timesteps, sigmas } = solverSchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta', 'flow'],
          placedEnd: end,
          interpolatedEnd: end,
          lambdaClipping: true,
        });
        const levels = [...sigmas].map((sigma) => level(sigma, flow));
        const orders = groupOrders(
          steps,
          settings.order,
          // Uneven counts leave no room for a last group of full order.
          lowerOrderFinal || settings.zeroEnd || steps % settings.order !== 0,
        );
        // A higher order would divide by the infinite λ of the end.
        if (settings.zeroEnd) orders[orders.length - 1] = 1;
        // History: earlier predictions, then the sample the group started from.
        const builder = new PlanBuilder({
          sampler: 'dpm++-2s',
          slots: settings.order,
          firstIndex: startStep,
        });
        const earlier = builder.slots.slice(0, settings.order - 1);
        const groupStart = builder.slots[settings.order - 1]!;
        for (let i = startStep; i < timesteps.length; i++) {
          const now = levels[i]!;
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          const clean = builder.predictX0(x0.sample, x0.output);
          const value = cleanSpace
            ? clean
            : combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          // A run that starts inside a group has not the group's first predictions yet.
          const order = Math.min(orders[i]!, i - startStep + 1);
          const start = order === 1 ? builder.sample : groupStart;
          const back = i - order + 1;
          const differences = singlestepDifferences(
            [value, ...earlier].slice(0, order),
            Array.from({ length: order + 1 }, (_, k) => levels[i + 1 - k]!.lambda),
            settings.heun,
          );
          builder.push({
            timestep: timesteps[i]!,
            next: dpmUpdate(
              settings,
              levels[back]!,
              levels[i + 1]!,
              start,
              builder.noise,
              differences,
              order === 2 && !settings.heun,
            ),
            history: [value, ...earlier.slice(0, -1), start].slice(-settings.order),
            drawsNoise: stochastic,
            noised: { x0: now.alpha, noise: now.sigma },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(startStep) });
      },
    };
  },
};

/** Order of every call: groups that climb to the solver's order, and what is left at the end in smaller ones. */
function groupOrders(steps: number, order: number, lowerFinal: boolean): number[] {
  const group = Array.from({ length: order }, (_, k) => k + 1);
  const repeat = (times: number): number[] => Array.from({ length: Math.max(0, times) }, () => group).flat();
  const whole = Math.floor(steps / order);
  if (!lowerFinal || order === 1) return repeat(whole);
  if (steps % order !== 0) return [...repeat(whole), ...group.slice(0, steps % order)];
  // The last whole group is split, so that the run ends with a first-order step.
  return [...repeat(whole - 1), ...group.slice(0, order - 1), 1];
}

/** Differences over a group, from the predictions in it, newest first; `lambdas` starts with the level stepped to. */
function singlestepDifferences(
  values: readonly Row[],
  lambdas: readonly number[],
  heun: boolean,
): Differences {
  if (values.length === 1) return { d0: values[0]! };
  const oldest = values[values.length - 1]!;
  const start = lambdas[lambdas.length - 1]!;
  const h = lambdas[0]! - start;
  const r0 = (lambdas[1]! - start) / h;
  const newest = combine([1 / r0, values[0]!], [-1 / r0, oldest]);
  if (values.length === 2) return { d0: oldest, d1: newest };
  if (!heun) return { d0: oldest, d1: newest };
  const r1 = (lambdas[2]! - start) / h;
  const middle = combine([1 / r1, values[1]!], [-1 / r1, oldest]);
  return {
    d0: oldest,
    d1: combine([r0 / (r0 - r1), middle], [-r1 / (r0 - r1), newest]),
    d2: combine([2 / (r0 - r1), newest], [-2 / (r0 - r1), middle]),
  };
}
