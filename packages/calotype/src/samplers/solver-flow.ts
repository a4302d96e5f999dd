import type { ConfigReader } from './config.ts';
import type { PredictionType } from './types.ts';

/**
 * Whether a solver's config makes it integrate a flow, with the half-set combinations refused: they would run, and
 * give pictures of noise.
 *
 * @param allowPlaced Whether Karras levels can be turned into flow levels.
 */
export function checkFlow(config: ConfigReader, type: PredictionType, allowPlaced = false): boolean {
  const flow = config.boolean('use_flow_sigmas', false);
  if (type === 'flow_prediction' && !flow) {
    config.fail('use_flow_sigmas', "must be true for 'flow_prediction' models.");
  }
  for (const field of ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_lu_lambdas']) {
    if (flow && config.boolean(field, false) && !(allowPlaced && field === 'use_karras_sigmas')) {
      config.fail(field, 'cannot be combined with use_flow_sigmas; set one of them to false.');
    }
  }
  return flow;
}
