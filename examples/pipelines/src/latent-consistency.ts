import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

/** Four steps; guidance is a number that the model itself gets, and costs nothing. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model);
  const { images } = await pipeline.generate({
    prompt: 'a red panda wearing a crown',
    numInferenceSteps: 4,
    guidanceScale: 8,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
