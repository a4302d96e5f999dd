import type { ConfigReader } from './config.ts';
import type { Level } from './lambda.ts';
import { combine } from './linear.ts';
import type { Row } from './types.ts';

/** Which equation is solved: for the clean sample (`++`) or for the noise, without or with noise injected (`sde`). */
export type DpmAlgorithm = 'dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver++' | 'sde-dpmsolver';

/** Settings the two DPM-Solver classes share. */
export interface DpmSettings {
  readonly algorithm: DpmAlgorithm;
  readonly heun: boolean;
  readonly order: number;
  readonly zeroEnd: boolean;
}

/** Reads and cross-checks the settings. */
export function readDpmSettings(config: ConfigReader): DpmSettings {
  const algorithms = ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver', 'deis'] as const;
  const named = config.oneOf('algorithm_type', algorithms, 'dpmsolver++');
  const algorithm = named === 'deis' ? 'dpmsolver++' : named;
  // Names of other classes' solvers arrive here when a model's config was written for one of those.
  const solver = config.oneOf('solver_type', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2'], 'midpoint');
  const zeroEnd = config.oneOf('final_sigmas_type', ['zero', 'sigma_min'], 'zero') === 'zero';
  if (zeroEnd && !algorithm.endsWith('++')) {
    config.fail(
      'final_sigmas_type',
      `'zero' needs an algorithm_type ending in '++'; with '${algorithm}' use 'sigma_min'.`,
    );
  }
  const order = config.integer('solver_order', 2);
  if (order < 1 || order > 3) config.fail('solver_order', `expected 1, 2 or 3, got ${order}.`);
  if (order === 3 && algorithm === 'sde-dpmsolver') {
    config.fail(
      'solver_order',
      "order 3 has no stochastic form for the noise; use 'sde-dpmsolver++' or order 2.",
    );
  }
  config.refuseThresholding();
  config.refuseLearnedVariance();
  return { algorithm, heun: solver === 'heun', order, zeroEnd };
}

/** Slopes of the prediction in λ, as finite differences over the step. */
export interface Differences {
  /** Value the step expands around. */
  readonly d0: Row;
  readonly d1?: Row;
  readonly d2?: Row;
}

/**
 * One exponential-integrator step from a level to another (Lu et al., arXiv 2206.00927 and 2211.01095): the linear
 * part exactly, the prediction as a polynomial in λ.
 *
 * With `heun` false the first difference is weighted as by the midpoint rule.
 */
export function dpmUpdate(
  settings: DpmSettings,
  from: Level,
  to: Level,
  start: Row,
  noise: Row,
  { d0, d1, d2 }: Differences,
  midpoint: boolean,
): Row {
  const h = to.lambda - from.lambda;
  const cleanSpace = settings.algorithm.endsWith('++');
  const stochastic = settings.algorithm.startsWith('sde');
  const terms: [number, Row][] = [];
  if (cleanSpace) {
    // With noise injected, the homogeneous part decays over twice the step.
    const rate = stochastic ? 2 : 1;
    const decay = Math.exp(-rate * h);
    const first = (decay - 1) / (-rate * h);
    terms.push([(to.sigma / from.sigma) * (stochastic ? Math.exp(-h) : 1), start]);
    terms.push([to.alpha * (1 - decay), d0]);
    if (d1) terms.push([to.alpha * (midpoint ? 0.5 * (1 - decay) : 1 - first), d1]);
    if (d2) {
      // Exact would be −φ. With noise injected the reference adds the opposite sign of its constant, which makes its
      // third order differ by one whole d2; followed, because its pictures are the ones to reproduce.
      const phi = (decay - 1 + rate * h) / (rate * h) ** 2 - 0.5;
      terms.push([to.alpha * (stochastic ? -phi - 1 : -phi), d2]);
    }
    if (stochastic) terms.push([to.sigma * Math.sqrt(1 - Math.exp(-2 * h)), noise]);
  } else {
    const growth = Math.expm1(h);
    const twice = stochastic ? 2 : 1;
    terms.push([to.alpha / from.alpha, start]);
    terms.push([-twice * to.sigma * growth, d0]);
    if (d1) terms.push([-twice * to.sigma * (midpoint ? 0.5 * growth : growth / h - 1), d1]);
    if (d2) terms.push([-to.sigma * ((growth - h) / h ** 2 - 0.5), d2]);
    if (stochastic) terms.push([to.sigma * Math.sqrt(Math.expm1(2 * h)), noise]);
  }
  return combine(...terms);
}
