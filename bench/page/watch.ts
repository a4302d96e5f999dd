// Each is called with the object that it was called on.
/* oxlint-disable typescript/unbound-method */

/** What the page's WebGPU is asked for, whoever asks: counted by wrapping its methods. */
export interface Watch {
  /** Dispatches so far. */
  dispatches: number;
  /** Largest sum of buffers that were there at once, in bytes. */
  peakBytes: number;
  /** Milliseconds in which at least one pipeline was being compiled. */
  compileMs: number;
}

/** Starts counting, for as long as the page lives. */
export function watchGpu(): Watch {
  const watch: Watch = { dispatches: 0, peakBytes: 0, compileMs: 0 };
  const alive = new Map<GPUBuffer, number>();
  let bytes = 0;
  const { createBuffer, createComputePipelineAsync } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    alive.set(buffer, buffer.size);
    bytes += buffer.size;
    watch.peakBytes = Math.max(watch.peakBytes, bytes);
    return buffer;
  };
  const { destroy } = GPUBuffer.prototype;
  GPUBuffer.prototype.destroy = function () {
    bytes -= alive.get(this) ?? 0;
    alive.delete(this);
    return destroy.call(this);
  };
  const { dispatchWorkgroups, dispatchWorkgroupsIndirect } = GPUComputePassEncoder.prototype;
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...grid) {
    watch.dispatches++;
    return dispatchWorkgroups.apply(this, grid);
  };
  GPUComputePassEncoder.prototype.dispatchWorkgroupsIndirect = function (...place) {
    watch.dispatches++;
    return dispatchWorkgroupsIndirect.apply(this, place);
  };
  let compiling = 0;
  let since = 0;
  GPUDevice.prototype.createComputePipelineAsync = async function (descriptor) {
    if (compiling++ === 0) since = performance.now();
    try {
      return await createComputePipelineAsync.call(this, descriptor);
    } finally {
      if (--compiling === 0) watch.compileMs += performance.now() - since;
    }
  };
  return watch;
}
