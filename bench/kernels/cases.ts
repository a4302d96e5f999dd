/** Formats that weights are quantized to as they are loaded. */
export type IntegerFormat = 'int8' | 'int4';

/** A kernel's work, with the shapes that diffusion models have. */
export type KernelCase =
  | {
      kind: 'gemm';
      name: string;
      rows: number;
      columns: number;
      depth: number;
      gated?: boolean;
      weights?: IntegerFormat;
    }
  | {
      kind: 'conv';
      name: string;
      weights?: IntegerFormat;
      batch?: number;
      height: number;
      width: number;
      channels: number;
      outputs: number;
      kernel?: number;
      stride?: number;
      upsample?: number;
    }
  | {
      kind: 'group-norm';
      name: string;
      batch?: number;
      height: number;
      width: number;
      channels: number;
      groups?: number;
    }
  | {
      kind: 'attention';
      name: string;
      batch?: number;
      heads: number;
      queries: number;
      keys: number;
      size: number;
      causal?: boolean;
    };

const gemm = (
  name: string,
  rows: number,
  columns: number,
  depth: number,
  extra: { gated?: boolean; weights?: IntegerFormat } = {},
): KernelCase => ({ kind: 'gemm', name, rows, columns, depth, ...extra });

const conv = (
  name: string,
  size: number,
  channels: number,
  outputs: number,
  extra: {
    kernel?: number;
    stride?: number;
    upsample?: number;
    batch?: number;
    weights?: IntegerFormat;
  } = {},
): KernelCase => ({ kind: 'conv', name, height: size, width: size, channels, outputs, ...extra });

const groupNorm = (name: string, size: number, channels: number): KernelCase => ({
  kind: 'group-norm',
  name,
  height: size,
  width: size,
  channels,
});

const attention = (
  name: string,
  heads: number,
  queries: number,
  keys: number,
  size: number,
  extra: { batch?: number; causal?: boolean } = {},
): KernelCase => ({ kind: 'attention', name, heads, queries, keys, size, ...extra });

/** Odd shapes, only to be right about. */
export const correctnessCases: readonly KernelCase[] = [
  gemm('odd gemm', 77, 70, 100),
  gemm('long odd gemm', 1000, 1000, 1000),
  gemm('odd gated', 300, 100, 96, { gated: true }),
  gemm('few rows', 5, 1000, 777),
  gemm('odd gemm, int8', 77, 70, 100, { weights: 'int8' }),
  gemm('long odd gemm, int4', 1000, 1000, 1000, { weights: 'int4' }),
  gemm('odd gated, int4', 300, 100, 96, { gated: true, weights: 'int4' }),
  gemm('few rows, int4', 5, 1000, 777, { weights: 'int4' }),
  conv('odd conv, int8', 17, 36, 50, { weights: 'int8' }),
  conv('strided conv, int4', 33, 64, 96, { stride: 2, weights: 'int4' }),
  conv('odd conv', 17, 36, 50),
  conv('strided conv', 33, 64, 96, { stride: 2 }),
  conv('upsampled conv', 16, 64, 64, { upsample: 2 }),
  conv('conv of 4 channels', 32, 4, 64),
  conv('conv to 3 channels', 32, 64, 3),
  groupNorm('odd group norm', 13, 96),
  attention('odd attention', 3, 77, 90, 36),
  attention('causal attention', 4, 200, 200, 64, { causal: true }),
  attention('attention of 512', 1, 300, 300, 512),
];

/** The shapes that a step's time goes to. */
export const speedCases: readonly KernelCase[] = [
  gemm('gemm 4096^3', 4096, 4096, 4096),
  gemm('Flux MLP', 4608, 12288, 3072),
  gemm('Flux projection', 4608, 3072, 3072),
  gemm('SDXL FF in', 1024, 10240, 1280),
  gemm('SDXL FF in, gated', 1024, 5120, 1280, { gated: true }),
  gemm('SDXL FF out', 1024, 1280, 5120),
  gemm('SDXL projection', 1024, 1280, 1280),
  gemm('SDXL FF in 64x64', 4096, 5120, 640),
  gemm('SDXL projection 64x64', 4096, 640, 640),
  gemm('SD 1.5 FF in', 4096, 2560, 320),
  gemm('SD 1.5 projection', 4096, 320, 320),
  gemm('SD 1.5 projection 16x16', 256, 1280, 1280),
  gemm('CLIP projection', 77, 768, 768),
  gemm('CLIP MLP', 77, 3072, 768),
  gemm('time embedding', 1, 1280, 1280),
  conv('conv 320 64x64', 64, 320, 320),
  conv('conv 640 32x32', 32, 640, 640),
  conv('conv 1280 16x16', 16, 1280, 1280),
  conv('conv 1280 8x8', 8, 1280, 1280),
  conv('conv 2560 to 1280 16x16', 16, 2560, 1280),
  conv('conv 320 64x64 stride 2', 64, 320, 320, { stride: 2 }),
  conv('conv 640 32x32 upsampled', 32, 640, 640, { upsample: 2 }),
  conv('conv 1280 8x8 of 2560', 8, 2560, 1280),
  conv('conv 1x1 640 32x32', 32, 640, 640, { kernel: 1 }),
  conv('conv in 64x64', 64, 4, 320),
  conv('conv out 64x64', 64, 320, 4),
  conv('VAE conv 512 64x64', 64, 512, 512),
  conv('VAE conv 512 256x256', 256, 512, 512),
  conv('VAE conv 128 512x512', 512, 128, 128),
  conv('VAE conv out 512x512', 512, 128, 3),
  ...(['int8', 'int4'] as const).flatMap((weights) => [
    gemm(`SDXL FF in, gated, ${weights}`, 1024, 5120, 1280, { gated: true, weights }),
    gemm(`SDXL FF out, ${weights}`, 1024, 1280, 5120, { weights }),
    gemm(`SDXL projection, ${weights}`, 1024, 1280, 1280, { weights }),
    gemm(`SD 1.5 projection, ${weights}`, 4096, 320, 320, { weights }),
    gemm(`time embedding, ${weights}`, 1, 1280, 1280, { weights }),
    conv(`conv 320 64x64, ${weights}`, 64, 320, 320, { weights }),
    conv(`conv 640 32x32, ${weights}`, 32, 640, 640, { weights }),
    conv(`conv 1280 16x16, ${weights}`, 16, 1280, 1280, { weights }),
  ]),
  groupNorm('group norm 320 64x64', 64, 320),
  groupNorm('group norm 960 64x64', 64, 960),
  groupNorm('group norm 640 32x32', 32, 640),
  groupNorm('group norm 1280 16x16', 16, 1280),
  groupNorm('group norm 1280 8x8', 8, 1280),
  groupNorm('VAE group norm 512 256x256', 256, 512),
  attention('SD 1.5 self 64x64', 8, 4096, 4096, 40),
  attention('SD 1.5 self 32x32', 8, 1024, 1024, 80),
  attention('SD 1.5 self 16x16', 8, 256, 256, 160),
  attention('SDXL self 64x64', 10, 4096, 4096, 64),
  attention('SDXL self 32x32', 20, 1024, 1024, 64),
  attention('Flux self', 24, 4608, 4608, 128),
  attention('SD 1.5 cross', 8, 4096, 77, 40),
  attention('SDXL cross', 10, 4096, 77, 64),
  attention('CLIP', 12, 77, 77, 64, { causal: true }),
  attention('VAE self 64x64', 1, 4096, 4096, 512),
  attention('VAE self 128x128', 1, 16384, 16384, 512),
];

/** What a case's weights are quantized to; `undefined` where they stay floats. */
export function weightsOf(item: KernelCase): IntegerFormat | undefined {
  return 'weights' in item ? item.weights : undefined;
}

/** Arithmetic of a case, near enough to tell long from short. */
export function flopsOf(item: KernelCase): number {
  switch (item.kind) {
    case 'gemm':
      return 2 * item.rows * item.columns * item.depth * (item.gated ? 2 : 1);
    case 'conv': {
      const { batch = 1, height, width, channels, outputs, kernel = 3, stride = 1, upsample = 1 } = item;
      return 2 * batch * height * width * (upsample / stride) ** 2 * channels * outputs * kernel ** 2;
    }
    case 'attention':
      return 4 * (item.batch ?? 1) * item.heads * item.queries * item.keys * item.size;
    case 'group-norm':
      return 10 * item.height * item.width * item.channels;
  }
}
