import type { Capabilities, Precision } from '../src/plan/capabilities.ts';

/** What a session plans with in one kind of browser. */
export interface Browser {
  precision: Precision;
  capabilities: Capabilities;
}

/** The first three are flag sets of `packages/dev`'s Chromium. */
export type BrowserName = 'experimental' | 'f16' | 'stock' | 'f32' | 'apple' | 'least';

/** What WebGPU promises on every device. */
export const defaultLimits: Capabilities['limits'] = {
  maxBufferSize: 256 * 2 ** 20,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};

const largeCard: Capabilities['limits'] = {
  maxBufferSize: 2 ** 31,
  maxStorageBufferBindingSize: 2 ** 31 - 4,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 49152,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupsPerDimension: 65535,
};

function capabilities(
  subgroups: readonly [number, number] | undefined,
  limits: Capabilities['limits'],
  features: Partial<Capabilities['features']> = {},
): Capabilities {
  const [subgroupMinSize, subgroupMaxSize] = subgroups ?? [4, 128];
  return {
    adapter: 'test',
    features: {
      shaderF16: false,
      subgroups: subgroups !== undefined,
      subgroupMatrix: [],
      timestampQuery: false,
      ...features,
    },
    subgroupMinSize,
    subgroupMaxSize,
    limits,
  };
}

export const browsers: Readonly<Record<BrowserName, Browser>> = {
  /** Chrome on a large NVIDIA card with tensor cores, under experimental flags. */
  experimental: {
    precision: 'f16',
    capabilities: capabilities([32, 32], largeCard, {
      shaderF16: true,
      subgroupMatrix: [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }],
    }),
  },
  /** The same card under Windows. */
  f16: { precision: 'f16', capabilities: capabilities([32, 32], largeCard, { shaderF16: true }) },
  /** And under Linux. */
  stock: { precision: 'packed-f16', capabilities: capabilities([32, 32], largeCard) },
  /** And where an application asks for float32. */
  f32: { precision: 'f32', capabilities: capabilities([32, 32], largeCard) },
  /** Chrome on an Apple GPU, whose subgroups differ from kernel to kernel. */
  apple: {
    precision: 'f16',
    capabilities: capabilities(
      [4, 64],
      { ...largeCard, maxComputeWorkgroupStorageSize: 32768 },
      {
        shaderF16: true,
      },
    ),
  },
  /** A browser that offers what all devices have. */
  least: { precision: 'packed-f16', capabilities: capabilities(undefined, defaultLimits) },
};
