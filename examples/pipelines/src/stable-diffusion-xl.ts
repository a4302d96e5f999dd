import { TextToImagePipeline } from 'calotype';
import type { Run } from './examples.ts';

/** The second encoder may read another prompt; sizes tell the model what kind of photograph to imagine. */
export const run: Run = async (model, report) => {
  using pipeline = await TextToImagePipeline.fromPretrained(model, { weights: 'int8' });
  const { images } = await pipeline.generate({
    prompt: 'a red panda wearing a crown',
    prompt2: 'studio photograph, soft light',
    negativePrompt: 'cropped',
    originalSize: [1024, 1024],
    cropsCoordsTopLeft: [0, 0],
    guidanceScale: 6,
    guidanceRescale: 0.3,
    onProgress: ({ stage }) => report(stage),
  });
  return images;
};
