/** An error as the page tells it. */
export interface Trouble {
  title: string;
  /** What to do about it. */
  remedy: string;
  /** What the library said, for those who want it. */
  detail: string;
  /** Where the way out lies. */
  way: 'again' | 'settings' | 'model' | 'browser';
  /** Whether the loaded model can still be used. */
  survives: boolean;
}

type Words = Omit<Trouble, 'detail'>;

const again = { way: 'again', survives: false } as const;
const model = { way: 'model', survives: false } as const;
const settings = { way: 'settings', survives: true } as const;

/** By class name: errors cross from a worker, and classes would pull their modules in here. */
const byName: Record<string, (error: Error & Record<string, unknown>) => Words> = {
  UnsupportedDeviceError: () => ({ ...webgpuAdvice(), way: 'browser', survives: false }),
  SourceError: ({ status, url }) =>
    typeof status !== 'number'
      ? {
          title: 'The model could not be fetched',
          remedy: navigator.onLine
            ? `Check the address and your connection. A model on another site must be served with CORS headers (${hostOf(url)}).`
            : 'You are offline, and this model is not kept here. Connect and try again.',
          ...model,
        }
      : {
          title: `The model could not be fetched: the server answered ${status}`,
          remedy: 'Check the address: it must be the folder that holds model_index.json.',
          ...model,
        },
  ModelFolderError: () => ({
    title: 'This folder is not a model that Calotype can open',
    remedy:
      'Give the folder that holds model_index.json, in the diffusers ONNX layout (text_encoder, unet and vae_decoder, each with a model.onnx).',
    ...model,
  }),
  TokenizerError: () => ({
    title: 'The model’s tokenizer cannot be read',
    remedy: 'The folder needs tokenizer/tokenizer.json, or vocab.json with merges.txt. Export it again.',
    ...model,
  }),
  InvalidModelError: ({ file }) => ({
    title: 'A file of the model is damaged',
    remedy: `${typeof file === 'string' ? file : 'It'} is cut short or not ONNX. Download or export the model again.`,
    ...model,
  }),
  UnsupportedOpError: () => ({
    title: 'This model needs operations that are not there yet',
    remedy: 'Try another export of it, or another model. The details name the operations.',
    ...model,
  }),
  ShapeError: () => ({
    title: 'The model’s parts do not fit together',
    remedy: 'Try the model’s own size first. If that fails too, export the model again.',
    way: 'settings',
    survives: true,
  }),
  OutOfMemoryError: () => ({
    title: 'The GPU has not enough memory for this',
    remedy: 'Choose a smaller size or fewer pictures, close other tabs that draw, or use a smaller model.',
    way: 'settings',
    survives: false,
  }),
  DeviceLostError: () => ({
    title: 'The GPU was reset',
    remedy: 'The driver or the system took it away. Develop again; the model is loaded anew.',
    ...again,
  }),
  WorkerCrashedError: () => ({
    title: 'The engine stopped',
    remedy: 'It may have run out of memory. Develop again; the model is loaded anew.',
    ...again,
  }),
  DisposedError: () => ({
    title: 'The engine was already put away',
    remedy: 'Develop again; the model is loaded anew.',
    ...again,
  }),
  OptionError: () => ({
    title: 'The model cannot do that',
    remedy: 'Change the setting that the details name, or reset the settings.',
    ...settings,
  }),
  SamplerError: () => ({
    title: 'This sampler does not work here',
    remedy: 'Choose the model’s own sampler.',
    ...settings,
  }),
  QueueFullError: () => ({
    title: 'The queue is full',
    remedy: 'Wait for a picture to be finished, or stop one.',
    way: 'again',
    survives: true,
  }),
  NumericError: () => ({
    title: 'The picture got lost in the arithmetic',
    remedy: 'Numbers overflowed on the way. Try another seed or sampler, or less guidance.',
    ...settings,
  }),
};

/** Tells an error in words, with its remedy. */
export function describeTrouble(error: unknown): Trouble {
  const known = error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
  const words = byName[known.name]?.(known as Error & Record<string, unknown>) ?? {
    title: 'Something went wrong',
    remedy: 'Try again. If it stays, reload the page; your history is kept.',
    ...again,
  };
  // A shader's source may come with the message.
  return { ...words, detail: known.message.slice(0, 600) };
}

/** What to do where WebGPU is missing: the first reason that applies. */
export function webgpuAdvice(): { title: string; remedy: string } {
  if (!isSecureContext) {
    return {
      title: 'WebGPU needs a secure page',
      remedy: 'Browsers offer WebGPU only over https and on localhost. Open this page at its https address.',
    };
  }
  if (!('gpu' in navigator)) {
    return {
      title: 'This browser has no WebGPU',
      remedy:
        'Pictures are made on your own graphics card, through WebGPU. Use Chrome or Edge 113 or later, Safari 26, or Firefox 141 or later; in Chrome on Linux, switch on chrome://flags/#enable-unsafe-webgpu.',
    };
  }
  return {
    title: 'No graphics card is offered to this page',
    remedy:
      'The browser knows WebGPU but gave no adapter. Switch on hardware acceleration in its settings, update the graphics driver, then restart the browser; chrome://gpu tells why.',
  };
}

function hostOf(url: unknown): string {
  return typeof url === 'string' && URL.canParse(url) ? new URL(url).host : 'its server';
}
