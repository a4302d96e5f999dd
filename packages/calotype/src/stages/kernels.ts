import { CustomKernel, type Engine, type Storage } from '@calotype/core';
import addTile from './add-tile.wgsl';
import affine from './affine.wgsl';
import blend from './blend.wgsl';
import guidanceFactor from './guidance-factor.wgsl';
import interpolate from './interpolate.wgsl';
import latentRgb from './latent-rgb.wgsl';
import mix from './mix.wgsl';
import modelInput from './model-input.wgsl';
import place from './place.wgsl';
import posterior from './posterior.wgsl';
import samplerStep from './sampler-step.wgsl';
import statistic from './statistic.wgsl';
import toPixels from './to-pixels.wgsl';
import unscale from './unscale.wgsl';
import weigh from './weigh.wgsl';

/** Lanes of a workgroup, in all kernels of the stages. */
const WORKGROUP = 256;

/** Buffers and parameters of each kernel, by their names in its shader. */
interface Signatures {
  affine: { reads: 'x'; writes: 'y'; params: 'elements' | 'xFirst' | 'yFirst' | 'scale' | 'shift' };
  mix: { reads: 'x' | 'noise'; writes: 'y'; params: 'elements' | 'period' | 'x0' | 'noise' };
  blend: {
    reads: 'x' | 'mask' | 'known' | 'noise';
    writes: 'y';
    params: 'elements' | 'channels' | 'plane' | 'maskImages' | 'knownElements' | 'x0' | 'noise';
  };
  interpolate: { reads: 'a' | 'b'; writes: 'y'; params: 'elements' | 't' | 'spherical' };
  place: {
    reads: 'x';
    writes: 'y';
    params: 'rows' | 'columns' | 'xStride' | 'xFirst' | 'yStride' | 'yFirst';
  };
  posterior: {
    reads: 'moments' | 'noise' | 'mean' | 'deviation';
    writes: 'y';
    params:
      | 'elements'
      | 'imageElements'
      | 'momentImages'
      | 'variances'
      | 'scale'
      | 'shift'
      | 'width'
      | 'plane'
      | 'statistics'
      | 'patchSize';
  };
  unscale: {
    reads: 'x' | 'mean' | 'deviation';
    writes: 'y';
    params: 'elements' | 'xFirst' | 'scale' | 'shift' | 'width' | 'plane' | 'statistics' | 'patchSize';
  };
  model_input: {
    reads: 'sample' | 'extra';
    writes: 'y';
    params:
      | 'rows'
      | 'images'
      | 'channels'
      | 'extraChannels'
      | 'extraImages'
      | 'height'
      | 'width'
      | 'patchSize'
      | 'yFirst'
      | 'scale';
  };
  guidance_factor: {
    reads: 'output';
    writes: 'factor';
    params: 'images' | 'imageElements' | 'without' | 'with_prompt' | 'guidance' | 'rescale';
  };
  sampler_step: {
    reads: 'sample' | 'output' | 'factor' | 'history' | 'noise' | 'plan';
    writes: 'next' | 'next_history';
    params:
      | 'elements'
      | 'slots'
      | 'step'
      | 'stride'
      | 'without'
      | 'with_prompt'
      | 'guided'
      | 'guidance'
      | 'rescaled'
      | 'channels'
      | 'height'
      | 'width'
      | 'patchSize';
  };
  weigh: { reads: 'x' | 'weights'; writes: 'y'; params: 'tokens' | 'channels' };
  add_tile: {
    reads: 'tile' | 'rows' | 'columns';
    writes: 'picture';
    params: 'tileHeight' | 'tileWidth' | 'rowsFirst' | 'columnsFirst' | 'top' | 'left' | 'height' | 'width';
  };
  latent_rgb: {
    reads: 'x' | 'projection';
    writes: 'planes';
    params: 'plane' | 'channels' | 'xFirst' | 'scale';
  };
  to_pixels: {
    reads: 'planes';
    writes: 'pixels' | 'fault';
    params: 'pixels' | 'scale' | 'shift';
  };
}

export type KernelName = keyof Signatures;

interface Spec<K extends KernelName> {
  body: string;
  inputs: readonly Signatures[K]['reads'][];
  outputs: Record<Signatures[K]['writes'], Storage>;
  params: Record<Signatures[K]['params'], 'u32' | 'f32'>;
}

const f32 = 'f32';
const u32 = 'u32';

/** What the stages compute beside the models. The shaders' headers say what each does. */
const specs: { readonly [K in KernelName]: Spec<K> } = {
  affine: {
    body: affine,
    inputs: ['x'],
    outputs: { y: f32 },
    params: { elements: u32, xFirst: u32, yFirst: u32, scale: f32, shift: f32 },
  },
  mix: {
    body: mix,
    inputs: ['x', 'noise'],
    outputs: { y: f32 },
    params: { elements: u32, period: u32, x0: f32, noise: f32 },
  },
  blend: {
    body: blend,
    inputs: ['x', 'mask', 'known', 'noise'],
    outputs: { y: f32 },
    params: {
      elements: u32, channels: u32, plane: u32, maskImages: u32, knownElements: u32, x0: f32, noise: f32,
    }, // prettier-ignore
  },
  interpolate: {
    body: interpolate,
    inputs: ['a', 'b'],
    outputs: { y: f32 },
    params: { elements: u32, t: f32, spherical: u32 },
  },
  place: {
    body: place,
    inputs: ['x'],
    outputs: { y: f32 },
    params: { rows: u32, columns: u32, xStride: u32, xFirst: u32, yStride: u32, yFirst: u32 },
  },
  posterior: {
    body: `${statistic}\n${posterior}`,
    inputs: ['moments', 'noise', 'mean', 'deviation'],
    outputs: { y: f32 },
    params: {
      elements: u32, imageElements: u32, momentImages: u32, variances: u32, scale: f32, shift: f32, width: u32, plane: u32,
      statistics: u32, patchSize: u32,
    }, // prettier-ignore
  },
  unscale: {
    body: `${statistic}\n${unscale}`,
    inputs: ['x', 'mean', 'deviation'],
    outputs: { y: f32 },
    params: {
      elements: u32, xFirst: u32, scale: f32, shift: f32, width: u32, plane: u32, statistics: u32, patchSize: u32,
    }, // prettier-ignore
  },
  model_input: {
    body: modelInput,
    inputs: ['sample', 'extra'],
    outputs: { y: f32 },
    params: {
      rows: u32, images: u32, channels: u32, extraChannels: u32, extraImages: u32, height: u32, width: u32,
      patchSize: u32, yFirst: u32, scale: f32,
    }, // prettier-ignore
  },
  guidance_factor: {
    body: guidanceFactor,
    inputs: ['output'],
    outputs: { factor: f32 },
    params: {
      images: u32, imageElements: u32, without: u32, with_prompt: u32, guidance: f32, rescale: f32,
    }, // prettier-ignore
  },
  sampler_step: {
    body: samplerStep,
    inputs: ['sample', 'output', 'factor', 'history', 'noise', 'plan'],
    outputs: { next: f32, next_history: f32 },
    params: {
      elements: u32, slots: u32, step: u32, stride: u32, without: u32, with_prompt: u32, guided: u32,
      guidance: f32, rescaled: u32, channels: u32, height: u32, width: u32, patchSize: u32,
    }, // prettier-ignore
  },
  weigh: {
    body: weigh,
    inputs: ['x', 'weights'],
    outputs: { y: f32 },
    params: { tokens: u32, channels: u32 },
  },
  add_tile: {
    body: addTile,
    inputs: ['tile', 'rows', 'columns'],
    outputs: { picture: f32 },
    params: {
      tileHeight: u32, tileWidth: u32, rowsFirst: u32, columnsFirst: u32, top: u32, left: u32, height: u32, width: u32,
    }, // prettier-ignore
  },
  latent_rgb: {
    body: latentRgb,
    inputs: ['x', 'projection'],
    outputs: { planes: f32 },
    params: { plane: u32, channels: u32, xFirst: u32, scale: f32 },
  },
  to_pixels: {
    body: toPixels,
    inputs: ['planes'],
    outputs: { pixels: u32, fault: u32 },
    params: { pixels: u32, scale: f32, shift: f32 },
  },
};

/** Every kernel of the stages. */
export const kernelNames = Object.keys(specs) as KernelName[];

/** Names of the buffers that a kernel reads. */
export function kernelInputs<K extends KernelName>(name: K): readonly Signatures[K]['reads'][] {
  return specs[name].inputs;
}

/** Runs a kernel on these buffers. */
export type Launch<K extends KernelName> = (
  buffers: Record<Signatures[K]['reads'] | Signatures[K]['writes'], GPUBuffer>,
  params: Record<Signatures[K]['params'], number>,
  /** Work items; with `perWorkgroup` workgroups. */
  items: number,
  perWorkgroup?: boolean,
) => void;

/** The kernels that a model's stages share, each compiled when it is first asked for. */
export class StageKernels {
  readonly #engine: Engine;
  readonly #compiled = new Map<string, Promise<CustomKernel>>();
  readonly #ready = new Map<string, CustomKernel>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * @param storages of the buffers read, where they are not `f32`
   * @throws ShaderError
   */
  async get<K extends KernelName>(
    name: K,
    storages: Partial<Record<Signatures[K]['reads'], Storage>> = {},
  ): Promise<Launch<K>> {
    const spec: Spec<K> = specs[name];
    const { key, inputs } = this.#variant(name, storages);
    let compiled = this.#compiled.get(key);
    if (!compiled) {
      compiled = CustomKernel.create(this.#engine, { ...spec, name, inputs, constants: { WORKGROUP } });
      this.#compiled.set(key, compiled);
    }
    const kernel = await compiled;
    this.#ready.set(key, kernel);
    return launchOf(kernel);
  }

  /** What `get` gives, at once; `undefined` before it has given that. */
  ready<K extends KernelName>(
    name: K,
    storages: Partial<Record<Signatures[K]['reads'], Storage>> = {},
  ): Launch<K> | undefined {
    const kernel = this.#ready.get(this.#variant(name, storages).key);
    return kernel && launchOf(kernel);
  }

  #variant<K extends KernelName>(
    name: K,
    storages: Partial<Record<Signatures[K]['reads'], Storage>>,
  ): { key: string; inputs: Record<string, Storage> } {
    const spec: Spec<K> = specs[name];
    const inputs = Object.fromEntries(
      spec.inputs.map((input) => [input, storages[input] ?? f32] as [string, Storage]),
    );
    return { key: `${name} ${Object.values(inputs).join(' ')}`, inputs };
  }

  dispose(): void {
    for (const compiled of this.#compiled.values()) {
      compiled.then(
        (kernel) => kernel.dispose(),
        () => {},
      );
    }
    this.#compiled.clear();
    this.#ready.clear();
  }
}

function launchOf<K extends KernelName>(kernel: CustomKernel): Launch<K> {
  return (buffers, params, items, perWorkgroup) =>
    kernel.run(buffers, params, perWorkgroup ? items : Math.ceil(items / WORKGROUP));
}
