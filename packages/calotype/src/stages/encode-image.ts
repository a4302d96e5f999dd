import { Tensor, type Engine, type Session } from '@calotype/core';
import type { ModelFacts } from '../model/facts.ts';
import type { StageKernels } from './kernels.ts';
import { ScalingKernelInput } from './latent-scaling.ts';
import { bufferOf, emptyTensor, sizeOf, uploadTensor } from './memory.ts';

/** Turns pictures into latents, with an autoencoder's encoder. */
export class LatentEncoder {
  readonly #engine: Engine;
  readonly session: Session;
  readonly #facts: ModelFacts;
  readonly #scaling: ScalingKernelInput;
  readonly #kernels: StageKernels;

  constructor(engine: Engine, session: Session, facts: ModelFacts, kernels: StageKernels) {
    this.#engine = engine;
    this.session = session;
    this.#facts = facts;
    this.#scaling = new ScalingKernelInput(engine, facts.scaling);
    this.#kernels = kernels;
  }

  /**
   * @param planes [1, channels, height, width], values from −1 to 1
   * @param noise as many elements as the latents; encoders that give a distribution are sampled with it. For several
   *   images' worth of noise there are as many latents
   * @returns [images, channels, height / 8, width / 8] on the GPU, scaled for the denoiser
   */
  async encode(
    planes: Tensor<'float32'>,
    noise: Float32Array<ArrayBuffer>,
    signal: AbortSignal | undefined,
  ): Promise<Tensor<'float32'>> {
    const input = this.session.inputs[0]!;
    using uploaded = uploadTensor(
      this.#engine,
      planes.shape,
      planes.cpu as Float32Array<ArrayBuffer>,
      'picture',
    );
    const dtype = input.dtype === 'float16' ? 'float16' : 'float32';
    const declared = new Tensor(dtype, planes.shape, uploaded.gpu!);
    const outputs = await this.session.run({ [input.name]: declared }, signal ? { signal } : {});
    try {
      const moments = Object.values(outputs)[0]!;
      const { latentChannels: channels, scaling } = this.#facts;
      const [momentImages, given, height, width] = moments.shape as [number, number, number, number];
      const imageElements = channels * height * width;
      const shape = [Math.max(1, Math.round(noise.length / imageElements)), channels, height, width];
      const posterior = await this.#kernels.get('posterior', { moments: moments.gpu!.storage });
      using drawn = uploadTensor(this.#engine, shape, noise, 'noise');
      const latents = emptyTensor(this.#engine, shape, 'latents');
      posterior(
        {
          moments: bufferOf(moments),
          noise: bufferOf(drawn),
          y: bufferOf(latents),
          ...this.#scaling.buffers(),
        },
        {
          elements: sizeOf(shape),
          imageElements,
          momentImages,
          variances: given === 2 * channels ? 1 : 0,
          scale: scaling.scalingFactor,
          shift: scaling.shiftFactor,
          ...this.#scaling.params(shape),
        },
        sizeOf(shape),
      );
      return latents;
    } finally {
      for (const tensor of Object.values(outputs)) tensor.dispose();
    }
  }

  dispose(): void {
    this.#scaling.dispose();
  }
}
