import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model, { weights: 'int8' });
  const { images } = await pipeline.generate({
    prompt: 'a sign that says "calotype"',
    guidanceScale: 4.5,
    maxSequenceLength: 128,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
