import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

/** The shift of the noise levels follows the picture's size. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model, { weights: 'int4' });
  const { images } = await pipeline.generate({
    prompt: 'a lighthouse at night',
    numInferenceSteps: 4,
    width: 768,
    height: 512,
    maxSequenceLength: 256,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
