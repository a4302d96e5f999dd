import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';
import { disc } from './picture.ts';

/** The ControlNet takes part in the first half of the steps. One in another folder: `fromPretrained(model, { controlnet })`. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model);
  const { images } = await pipeline.generate({
    prompt: 'a coin on a table',
    controlImage: disc(pipeline.defaultSize, { disc: 'white', ground: 'black' }),
    controlnetConditioningScale: 0.8,
    controlGuidanceEnd: 0.5,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
