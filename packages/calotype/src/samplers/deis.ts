import { ConfigReader } from './config.ts';
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

/**
 * Diffusion exponential integrator, multistep in ρ = σ/α with the noise as a polynomial in ln ρ
 * (Zhang & Chen, arXiv 2204.13902).
 */
export const deis: SamplerDefinition = {
  names: ['deis'],
  className: 'DEISMultistepScheduler',
  create(source) {
    const config = new ConfigReader('deis', source);
    config.refuseThresholding();
    config.oneOf('algorithm_type', ['deis', 'dpmsolver', 'dpmsolver++'], 'deis');
    config.oneOf('solver_type', ['logrho', 'midpoint', 'heun', 'bh1', 'bh2'], 'logrho');
    const type = config.prediction(['epsilon', 'v_prediction', 'sample', 'flow_prediction']);
    const flow = checkFlow(config, type);
    const schedule = noiseSchedule(config, ddpmBetas, 'unknown');
    const maxOrder = config.integer('solver_order', 2);
    if (maxOrder < 1 || maxOrder > 3) config.fail('solver_order', `expected 1, 2 or 3, got ${maxOrder}.`);
    const lowerOrderFinal = config.boolean('lower_order_final', true);
    return {
      name: 'deis',
      className: 'DEISMultistepScheduler',
      config: source,
      kind: flow ? 'flow' : 'diffusion',
      predictionType: type,
      callsPerStep: 1,
      plan(options) {
        const { steps, startStep } = resolveRun(config, options);
        const { timesteps, sigmas } = solverSchedule(config, schedule, steps, options, {
          supported: ['karras', 'exponential', 'beta', 'flow'],
          placedEnd: 'repeat',
          interpolatedEnd: 'sigma_min',
          spaced: true,
        });
        const levels = [...sigmas].map((sigma) => level(sigma, flow));
        const count = timesteps.length;
        const short = lowerOrderFinal && count < SHORT_RUN;
        const builder = new PlanBuilder({ sampler: 'deis', slots: maxOrder - 1, firstIndex: startStep });
        for (let i = startStep; i < count; i++) {
          const [now, to] = [levels[i]!, levels[i + 1]!];
          const { x0, epsilon } = prediction(type, now.alpha, now.sigma);
          builder.predictX0(x0.sample, x0.output);
          const noise = combine([epsilon.sample, builder.sample], [epsilon.output, builder.output]);
          const room = short ? count - i : maxOrder;
          const order = Math.min(maxOrder, i - startStep + 1, room);
          const values = [noise, ...builder.slots].slice(0, order);
          const rhos = values.map((_, k) => levels[i - k]!.sigma / levels[i - k]!.alpha);
          const weights =
            order === 1
              ? [to.sigma / to.alpha - rhos[0]!]
              : logPolynomialWeights(rhos, rhos[0]!, to.sigma / to.alpha);
          const terms = values.map((row, k): readonly [number, Row] => [to.alpha * weights[k]!, row]);
          builder.push({
            timestep: timesteps[i]!,
            next: combine([to.alpha / now.alpha, builder.sample], ...terms),
            history: [noise, ...builder.slots.slice(0, -1)],
            noised: { x0: now.alpha, noise: now.sigma },
          });
        }
        return builder.finish({ initNoiseSigma: 1, sigmas: sigmas.slice(startStep) });
      },
    };
  },
};

/** Integrals over ρ of the Lagrange polynomials in ln ρ through the given points. */
function logPolynomialWeights(points: readonly number[], from: number, to: number): number[] {
  return points.map((point, k) => {
    const others = points.filter((_, j) => j !== k).map(Math.log);
    const [c, d] = others;
    const antiderivative = (rho: number): number => {
      const l = Math.log(rho);
      if (d === undefined) return rho * (l - 1 - c!);
      // ∫ (l − c)(l − d) dρ, from ∫ l dρ = ρ(l − 1) and ∫ l² dρ = ρ(l² − 2l + 2)
      return rho * (l * l - 2 * l + 2 - (c! + d) * (l - 1) + c! * d);
    };
    const scale = others.reduce((product, other) => product * (Math.log(point) - other), 1);
    return (antiderivative(to) - antiderivative(from)) / scale;
  });
}
