/**
 * Makes adapters of this page offer no more than WebGPU's default limits, so that devices get those and hold
 * everybody to them.
 */
export async function offerDefaultLimits(): Promise<void> {
  const { gpu } = navigator;
  const request = gpu.requestAdapter.bind(gpu);
  const adapter = await request();
  if (!adapter) throw new Error('There is no adapter to take limits from.');
  const device = await adapter.requestDevice();
  const { limits } = device;
  device.destroy();
  gpu.requestAdapter = async (options) => {
    const offered = await request(options);
    if (offered) Object.defineProperty(offered, 'limits', { value: limits });
    return offered;
  };
}
