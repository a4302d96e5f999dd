import { fnv1a32, type FillStatistics } from '../../hash-fill.ts';
import code from './hash-fill.wgsl';

const WORKGROUP = 256;

const pipelines = new WeakMap<GPUDevice, GPUComputePipeline>();

/** Fills a whole buffer with the hash fill of the tensor `name`: float16, or else float32. */
export function fillOnGpu(
  device: GPUDevice,
  buffer: GPUBuffer,
  name: string,
  { mean, std, half }: FillStatistics & { half: boolean },
): void {
  let pipeline = pipelines.get(device);
  if (!pipeline) {
    const module = device.createShaderModule({ label: 'hash_fill', code });
    pipeline = device.createComputePipeline({ label: 'hash_fill', layout: 'auto', compute: { module } });
    pipelines.set(device, pipeline);
  }
  const params = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM, mappedAtCreation: true });
  const view = new DataView(params.getMappedRange());
  view.setUint32(0, Math.imul(fnv1a32(name), 0x9e3779b9) >>> 0, true);
  view.setFloat32(4, mean, true);
  view.setFloat32(8, std * Math.sqrt(12), true);
  view.setUint32(12, half ? 1 : 0, true);
  params.unmap();
  const entries = [buffer, params].map((each, binding) => ({ binding, resource: { buffer: each } }));
  const encoder = device.createCommandEncoder({ label: 'hash_fill' });
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  const groups = Math.ceil(buffer.size / 4 / WORKGROUP);
  const rows = Math.ceil(groups / 65535);
  pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
  pass.end();
  device.queue.submit([encoder.finish()]);
  params.destroy();
}
