import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

/** Two requests, at different steps and with different samplers, share every call of the model. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model);
  const { denoising } = pipeline.model;
  using first = await pipeline.begin({ prompt: 'a cat', sampler: 'euler', numInferenceSteps: 8 });
  await denoising.step([first.job]);
  using second = await pipeline.begin({ prompt: 'a dog', sampler: 'dpm++-2m', numInferenceSteps: 6 });
  for (;;) {
    const waiting = [first.job, second.job].filter((job) => !job.done);
    if (waiting.length === 0) break;
    report(`step for ${waiting.length}`);
    await denoising.step(waiting);
  }
  return [...(await first.decode('bitmap')), ...(await second.decode('bitmap'))];
};
