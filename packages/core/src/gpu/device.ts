import { UnsupportedDeviceError } from '../errors.ts';
import type { Capabilities, SubgroupMatrixConfig } from '../plan/capabilities.ts';

/** Limits to ask for as high as the adapter has them. The defaults (128 MiB bindings) stop real models. */
const RAISED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupsPerDimension',
  'maxBindGroups',
] as const;

/** Features that kernels or onnxruntime-web (which shares the device) make use of. */
const WANTED_FEATURES = [
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'subgroup-size-control',
  'chromium-experimental-subgroup-matrix',
  'chromium-experimental-timestamp-query-inside-passes',
];

/** What experimental browsers add to `GPUAdapterInfo`. */
interface ExtendedAdapterInfo extends GPUAdapterInfo {
  readonly subgroupMatrixConfigs?: readonly SubgroupMatrixConfig[];
}

/**
 * A device with every limit and feature the adapter has and kernels may use.
 *
 * @throws UnsupportedDeviceError where there is no WebGPU or no adapter
 */
export async function requestDevice(
  options: { powerPreference?: GPUPowerPreference } = {},
): Promise<{ device: GPUDevice; capabilities: Capabilities }> {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu) {
    throw new UnsupportedDeviceError(
      'This browser has no WebGPU. Use Chrome or Edge 113+, Safari 26+ or Firefox 141+, on a secure page (https or localhost).',
      'navigator.gpu',
    );
  }
  const adapter = await gpu.requestAdapter({
    powerPreference: options.powerPreference ?? 'high-performance',
  });
  if (!adapter) {
    throw new UnsupportedDeviceError(
      'The browser offers no GPU adapter: WebGPU may be blocked for this graphics driver or switched off in its settings.',
      'GPUAdapter',
    );
  }
  const requiredFeatures = WANTED_FEATURES.filter((feature) =>
    adapter.features.has(feature),
  ) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const limit of RAISED_LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const device = await adapter
    .requestDevice({ label: 'calotype', requiredFeatures, requiredLimits })
    .catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new UnsupportedDeviceError(`The GPU adapter gives no device: ${why}`, 'GPUDevice');
    });
  return { device, capabilities: capabilitiesOf(device, adapter.info) };
}

/** Plain data about a device. `info` defaults to the device's own adapter information. */
export function capabilitiesOf(device: GPUDevice, info: GPUAdapterInfo = device.adapterInfo): Capabilities {
  const has = (feature: string): boolean => device.features.has(feature);
  const { limits } = device;
  const extended: ExtendedAdapterInfo = info;
  return {
    adapter: [info.vendor, info.architecture, info.device].filter(Boolean).join('-') || 'unknown',
    features: {
      shaderF16: has('shader-f16'),
      subgroups: has('subgroups'),
      subgroupMatrix: has('chromium-experimental-subgroup-matrix')
        ? (extended.subgroupMatrixConfigs ?? []).map(({ componentType, resultComponentType, M, N, K }) => ({
            componentType,
            resultComponentType,
            M,
            N,
            K,
          }))
        : [],
      timestampQuery: has('timestamp-query'),
    },
    subgroupMinSize: info.subgroupMinSize,
    subgroupMaxSize: info.subgroupMaxSize,
    limits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    },
  };
}
