import { ImageToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';
import { disc } from './picture.ts';

/** `strength` is how much of the picture may change. A File or an <img> will do as well. */
export const run: Run = async (model, report) => {
  using pipeline = await ImageToImagePipeline.fromPretrained(model);
  const { images } = await pipeline.generate({
    prompt: 'an oil painting of a sunset',
    image: disc(pipeline.defaultSize, { disc: 'tomato', ground: 'navy' }),
    strength: 0.7,
    numInferenceSteps: 20,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
