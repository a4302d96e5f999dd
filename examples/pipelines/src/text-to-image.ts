import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

/** Two pictures at once, each from a seed of its own. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model);
  const { images } = await pipeline.generate({
    prompt: 'a lighthouse at night, (stormy:1.3) sea',
    negativePrompt: 'blurry',
    numInferenceSteps: 20,
    sampler: 'dpm++-2m-karras',
    seed: [1, 2],
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
