import { Engine, type EngineOptions } from '../src/gpu/engine.ts';

// A GPUDevice that computes nothing: it counts what is made, keeps the bytes of buffers and fails on demand.

export interface FakeDevice extends GPUDevice {
  /** How often each kind of object was created. */
  readonly made: Readonly<Record<'buffer' | 'bindGroup' | 'pipeline' | 'submit', number>>;
  /** Buffers neither destroyed nor collected, with their bytes. */
  readonly live: ReadonlySet<FakeBuffer>;
  /** Largest sum of live bytes so far. */
  readonly peakBytes: number;
  /** Bytes handed to `writeBuffer` and not taken by the device yet. */
  readonly stagedBytes: number;
  readonly mostStagedBytes: number;
  /** From now on allocations that would exceed this fail as the device reports it: later, through the error scope. */
  capacity: number;
  /** WGSL containing this does not compile. */
  brokenShader: string | undefined;
  lose(reason?: GPUDeviceLostReason): void;
}

export interface FakeBuffer extends GPUBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const limits = {
  maxBufferSize: 2 ** 30,
  maxStorageBufferBindingSize: 2 ** 30,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};

/** Gives Node the constants that browsers have. */
function defineConstants(): void {
  Object.assign(globalThis, {
    GPUBufferUsage: { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128, QUERY_RESOLVE: 512 },
    GPUMapMode: { READ: 1, WRITE: 2 },
    GPUShaderStage: { COMPUTE: 4 },
  });
}

export async function fakeEngine(
  options: EngineOptions & Parameters<typeof fakeDevice>[0] = {},
): Promise<{ engine: Engine; device: FakeDevice }> {
  const device = fakeDevice(options);
  return { device, engine: await Engine.create({ precision: 'f32', ...options, device }) };
}

/**
 * @param keepsContents whether buffers hold what is written to them; without, huge ones cost nothing
 * @param features with `timestamp-query`, every timestamp is a microsecond after the one before
 */
export function fakeDevice({
  keepsContents = true,
  features = [],
}: { keepsContents?: boolean; features?: readonly string[] } = {}): FakeDevice {
  defineConstants();
  const made = { buffer: 0, bindGroup: 0, pipeline: 0, submit: 0 };
  const live = new Set<FakeBuffer>();
  const scopes: { error: { message: string } | null }[] = [];
  const state = { peakBytes: 0, stagedBytes: 0, mostStagedBytes: 0, isLost: false, microseconds: 0 };
  let lose: (info: GPUDeviceLostInfo) => void = () => {};
  const lost = new Promise<GPUDeviceLostInfo>((resolve) => (lose = resolve));
  const liveBytes = (): number => [...live].reduce((sum, { size }) => sum + size, 0);

  const createBuffer = ({ size, usage, label = '', mappedAtCreation }: GPUBufferDescriptor): FakeBuffer => {
    made.buffer++;
    const bytes = new Uint8Array(keepsContents || mappedAtCreation ? size : 0);
    const buffer = {
      size,
      usage,
      label,
      bytes,
      destroy: () => void live.delete(buffer),
      mapAsync: () => (state.isLost ? Promise.reject(new Error('lost')) : Promise.resolve()),
      getMappedRange: (from = 0, length = size) =>
        from === 0 && length === size ? bytes.buffer : bytes.slice(from, from + length).buffer,
      unmap: () => {},
    } as unknown as FakeBuffer;
    live.add(buffer);
    if (liveBytes() > device.capacity && scopes.length > 0) {
      scopes.at(-1)!.error = { message: 'out of memory' };
      live.delete(buffer);
    }
    state.peakBytes = Math.max(state.peakBytes, liveBytes());
    return buffer;
  };
  const encoder = (): unknown => ({
    beginComputePass: () => ({
      setPipeline: () => {},
      setBindGroup: () => {},
      dispatchWorkgroups: () => {},
      end: () => {},
    }),
    copyBufferToBuffer: (from: FakeBuffer, at: number, to: FakeBuffer, into: number, length: number) =>
      to.bytes.set(from.bytes.subarray(at, at + length), into),
    resolveQuerySet: (_: unknown, first: number, count: number, buffer: FakeBuffer) => {
      const ticks = new BigUint64Array(buffer.bytes.buffer, 0, count);
      for (let i = first; i < count; i++) ticks[i] = BigInt(state.microseconds++) * 1000n;
    },
    finish: () => ({}),
  });
  const device = {
    made,
    live,
    limits,
    lost,
    capacity: Infinity,
    brokenShader: undefined,
    features: new Set<string>(features),
    adapterInfo: { vendor: 'fake', architecture: '', device: '', subgroupMinSize: 4, subgroupMaxSize: 4 },
    get peakBytes() {
      return state.peakBytes;
    },
    get stagedBytes() {
      return state.stagedBytes;
    },
    get mostStagedBytes() {
      return state.mostStagedBytes;
    },
    queue: {
      writeBuffer(
        buffer: FakeBuffer,
        offset: number,
        data: Uint8Array,
        from = 0,
        length = data.length - from,
      ) {
        if (buffer.bytes.length > 0) buffer.bytes.set(data.subarray(from, from + length), offset);
        state.stagedBytes += length;
        state.mostStagedBytes = Math.max(state.mostStagedBytes, state.stagedBytes);
      },
      submit: () => void made.submit++,
      async onSubmittedWorkDone() {
        state.stagedBytes = 0;
      },
    },
    addEventListener: () => {},
    pushErrorScope: () => void scopes.push({ error: null }),
    popErrorScope: async () => scopes.pop()!.error,
    createBuffer,
    createBindGroup: () => ({ number: made.bindGroup++ }),
    createQuerySet: ({ count }: GPUQuerySetDescriptor) => ({ count, destroy: () => {} }),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: ({ code }: GPUShaderModuleDescriptor) => ({
      code,
      getCompilationInfo: async () => ({
        messages: [{ lineNum: 3, linePos: 7, type: 'error', message: 'unresolved value' }],
      }),
    }),
    createComputePipelineAsync: async ({ compute }: GPUComputePipelineDescriptor) => {
      made.pipeline++;
      const { code } = compute.module as unknown as { code: string };
      if (device.brokenShader !== undefined && code.includes(device.brokenShader))
        throw new Error('invalid module');
      return { code };
    },
    createCommandEncoder: encoder,
    destroy: () => device.lose('destroyed'),
    lose(reason: GPUDeviceLostReason = 'unknown') {
      state.isLost = true;
      lose({ reason, message: 'fake loss' } as GPUDeviceLostInfo);
    },
  } as unknown as FakeDevice;
  return device;
}
