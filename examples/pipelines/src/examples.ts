/** Hears what goes on. */
export type Report = (text: string) => void;

/** Runs a pipeline with the model at a URL. */
export type Run = (model: string, report: Report) => Promise<ImageBitmap[]>;

interface Example {
  name: string;
  title: string;
  /** What the model's folder must hold. */
  needs: string;
  /** A model of random weights that will do. */
  model?: string;
  load(): Promise<{ run: Run }>;
}

/** One for every pipeline. */
export const examples: Example[] = [
  {
    name: 'text-to-image',
    title: 'Text to image',
    needs: 'Stable Diffusion 1 or 2.',
    model: '/model/',
    load: () => import('./text-to-image.ts'),
  },
  {
    name: 'image-to-image',
    title: 'Image to image',
    needs: 'Any family, with vae_encoder.',
    model: '/model/',
    load: () => import('./image-to-image.ts'),
  },
  {
    name: 'inpaint',
    title: 'Inpainting',
    needs: 'Any family, with vae_encoder; best one with nine channels.',
    model: '/model/',
    load: () => import('./inpaint.ts'),
  },
  {
    name: 'controlnet',
    title: 'ControlNet',
    needs: 'A UNet exported with residual inputs, and controlnet/model.onnx.',
    load: () => import('./controlnet.ts'),
  },
  {
    name: 'stable-diffusion-xl',
    title: 'Stable Diffusion XL',
    needs: 'SDXL with both text encoders.',
    load: () => import('./stable-diffusion-xl.ts'),
  },
  {
    name: 'latent-consistency',
    title: 'Latent consistency',
    needs: 'An LCM: a UNet with timestep_cond.',
    load: () => import('./latent-consistency.ts'),
  },
  {
    name: 'stable-diffusion-3',
    title: 'Stable Diffusion 3',
    needs: 'SD3 or SD3.5; T5 may be left out.',
    load: () => import('./stable-diffusion-3.ts'),
  },
  {
    name: 'flux',
    title: 'FLUX.1 and FLUX.2',
    needs: 'FLUX.1 with CLIP and T5, or FLUX.2 with Qwen3.',
    load: () => import('./flux.ts'),
  },
  {
    name: 'requests-of-your-own',
    title: 'Steps of your own',
    needs: 'Any model.',
    model: '/model/',
    load: () => import('./steps.ts'),
  },
];
