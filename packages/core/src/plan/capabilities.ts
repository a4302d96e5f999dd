/** All that planning and kernels may know of a device. Plain data: plans can be made and tested without a GPU. */
export interface Capabilities {
  /** For reports and tuning tables, for example `nvidia-hopper`. */
  adapter: string;
  features: {
    shaderF16: boolean;
    subgroups: boolean;
    subgroupMatrix: readonly SubgroupMatrixConfig[];
    timestampQuery: boolean;
  };
  subgroupMinSize: number;
  subgroupMaxSize: number;
  limits: {
    maxBufferSize: number;
    maxStorageBufferBindingSize: number;
    maxStorageBuffersPerShaderStage: number;
    maxComputeWorkgroupStorageSize: number;
    maxComputeInvocationsPerWorkgroup: number;
    maxComputeWorkgroupSizeX: number;
    maxComputeWorkgroupsPerDimension: number;
  };
}

/** Software adapters run on the CPU: workgroup memory and barriers cost there, and compiling often more than running. */
export function isProcessor({ adapter }: Pick<Capabilities, 'adapter'>): boolean {
  return /swiftshader|llvmpipe/.test(adapter);
}

export interface SubgroupMatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

/**
 * How float activations are stored and computed.
 * - `f32`: stored and computed in f32.
 * - `f16`: stored as f16; needs `shader-f16`. Norms, softmax and accumulations in f32.
 * - `packed-f16`: stored as f16, two to a u32; all arithmetic in f32. Needs no feature.
 */
export type Precision = 'f32' | 'f16' | 'packed-f16';
