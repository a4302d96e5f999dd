import { InpaintPipeline } from 'calotype';
import type { Run } from './examples.ts';
import { disc } from './picture.ts';

/** What is white in the mask is made anew. */
export const run: Run = async (model, report) => {
  using pipeline = await InpaintPipeline.fromPretrained(model);
  const size = pipeline.defaultSize;
  const { images } = await pipeline.generate({
    prompt: 'a full moon',
    image: disc(size, { disc: 'tomato', ground: 'navy' }),
    maskImage: disc(size, { disc: 'white', ground: 'black' }),
    numInferenceSteps: 20,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
