import type { ModelGraph } from '@calotype/core/tools';
import { fromNumbers, outputNumbers } from '@calotype/dev/reference';
import type * as Ort from 'onnxruntime-web/jspi';
import type { GraphScenario } from '../scenarios.ts';
import type { BenchOptions, Measurement, OrtSettings } from '../types.ts';
import { at } from './phase.ts';
import { distance, expectedOf, feedsOf, referenceOf, type Feed, type Reference } from './reference.ts';
import { timed } from './timing.ts';
import { watchGpu, type Watch } from './watch.ts';
import { readGraph, splitModel, withCastNorms } from './weights-file.ts';

/**
 * Times one graph in onnxruntime-web's WebGPU provider (the native one, JSPI build): weights as external data, which
 * stream to the GPU, dimensions fixed, inputs and outputs on the GPU, no validation while running.
 */
export async function runOrt(
  scenario: GraphScenario,
  settings: OrtSettings,
  options: BenchOptions,
): Promise<Measurement> {
  const watch = watchGpu();
  at('reading the graph');
  const model = await readGraph(scenario.graph);
  const { graph } = model;
  const device = await deviceFor(options);
  const isHalf = [...graph.initializers.values()].some(({ dtype }) => dtype === 'float16');
  if (isHalf && !device.features.has('shader-f16'))
    throw new Error(
      'the graph is float16, and onnxruntime-web runs such only where the browser has shader-f16',
    );
  at('making its weights');
  const { bytes, externalData } = await splitModel(
    scenario.graph,
    settings.castNorms ? withCastNorms(model) : model,
    device,
  );

  at('loading onnxruntime-web');
  const ort = await import('onnxruntime-web/jspi');
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'error';
  at('making its session');
  const cold = performance.now();
  const create = (shapes: GraphScenario['shapes']): Promise<Ort.InferenceSession> =>
    ort.InferenceSession.create(bytes, {
      executionProviders: [
        { name: 'webgpu', device, preferredLayout: settings.preferredLayout, validationMode: 'wgpuOnly' },
      ],
      externalData,
      freeDimensionOverrides: sizesOf(graph, shapes),
      enableGraphCapture: settings.enableGraphCapture,
      preferredOutputLocation: 'gpu-buffer',
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    });
  const session = await create(scenario.shapes);
  const reference = await referenceOf(scenario);
  const inputs = onGpu(ort, device, feedsOf(graph.inputs, scenario.shapes, { reference }));
  at('its first run');
  release(await session.run(inputs));
  await device.queue.onSubmittedWorkDone();
  const coldMs = performance.now() - cold;
  // Of the second run: where a graph is captured, the first that replays it.
  const second = await session.run(inputs);
  let relativeL2 = await errorOf(second, reference);
  release(second);

  at('counting its dispatches');
  const dispatches = await dispatchesOf(watch, async () => release(await session.run(inputs)));
  at('timing');
  const times = await timed(async () => {
    const started = performance.now();
    const outputs = await session.run(inputs);
    await device.queue.onSubmittedWorkDone();
    const elapsed = performance.now() - started;
    release(outputs);
    return elapsed;
  }, options.runs);
  const { peakBytes } = watch;
  const shapes = reference && scenario.referenceShapes;
  if (shapes) {
    at('a session of the size of its reference');
    await session.release();
    const small = await create(shapes);
    relativeL2 = await errorOf(
      await small.run(onGpu(ort, device, feedsOf(graph.inputs, shapes, { reference }))),
      reference,
    );
  }
  const capture = settings.enableGraphCapture ? 'graph capture' : 'no graph capture';
  const casts = settings.castNorms ? ', norms cast' : '';
  return {
    row: {
      scenario: scenario.name,
      engine: 'onnxruntime-web',
      flags: options.flags,
      precision: isHalf ? 'f16' : 'f32',
      ...times,
      relativeL2,
      peakBytes,
      dispatches,
      coldMs,
      settings: `${ort.env.versions.web} jspi, ${settings.preferredLayout}, ${capture}${casts}, inputs and outputs on the GPU`,
    },
  };
}

async function errorOf(
  outputs: Ort.InferenceSession.OnnxValueMapType,
  reference: Reference | undefined,
): Promise<number | null> {
  return distance(await numbersOf(outputs), expectedOf(shapesOf(outputs), reference));
}

/** A device with all that the adapter has, as onnxruntime-web would ask for it. */
async function deviceFor({ flags }: BenchOptions): Promise<GPUDevice> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('the browser offers no GPU adapter');
  // Its flash attention is wrong with subgroups of four, which SwiftShader has.
  const isUnfit = (feature: string): boolean => flags === 'software' && feature.startsWith('subgroup');
  const wanted = [
    'shader-f16',
    'subgroups',
    'subgroup-size-control',
    'chromium-experimental-subgroup-matrix',
  ];
  const requiredFeatures = wanted.filter(
    (feature) => adapter.features.has(feature) && !isUnfit(feature),
  ) as GPUFeatureName[];
  const limits = [
    'maxStorageBuffersPerShaderStage',
    'maxStorageBufferBindingSize',
    'maxBufferSize',
    'maxComputeWorkgroupStorageSize',
    'maxComputeInvocationsPerWorkgroup',
    'maxComputeWorkgroupSizeX',
    'maxComputeWorkgroupSizeY',
    'maxComputeWorkgroupSizeZ',
    'maxComputeWorkgroupsPerDimension',
  ] as const;
  const requiredLimits = Object.fromEntries(limits.map((limit) => [limit, adapter.limits[limit]]));
  return adapter.requestDevice({ requiredFeatures, requiredLimits });
}

/** Sizes of the graph's free dimensions by their names. */
function sizesOf(graph: ModelGraph, shapes: GraphScenario['shapes']): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const { name, shape } of graph.inputs) {
    shape?.forEach((size, axis) => {
      const wanted = shapes[name]?.[axis];
      if (typeof size === 'string' && wanted !== undefined) sizes[size] = wanted;
    });
  }
  return sizes;
}

function onGpu(ort: typeof Ort, device: GPUDevice, feeds: readonly Feed[]): Record<string, Ort.Tensor> {
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  return Object.fromEntries(
    feeds.map(({ name, dtype, shape, values }) => {
      const data = fromNumbers(dtype, values);
      // It refuses sizes that are no multiple of 16.
      const size = Math.ceil(data.byteLength / 16) * 16;
      const buffer = device.createBuffer({
        size,
        usage: STORAGE | COPY_SRC | COPY_DST,
        mappedAtCreation: true,
      });
      new Uint8Array(buffer.getMappedRange()).set(
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      );
      buffer.unmap();
      const dataType = dtype as Ort.Tensor.GpuBufferDataTypes;
      return [name, ort.Tensor.fromGpuBuffer(buffer, { dataType, dims: shape })];
    }),
  );
}

async function numbersOf(
  outputs: Ort.InferenceSession.OnnxValueMapType,
): Promise<Map<string, ArrayLike<number>>> {
  const numbers = new Map<string, ArrayLike<number>>();
  for (const [name, value] of Object.entries(outputs)) {
    if (!value.type.startsWith('float')) continue;
    const data = await value.getData();
    // Where the browser has Float16Array, float16 arrives as numbers instead of bits.
    const isBits = value.type !== 'float16' || data instanceof Uint16Array;
    numbers.set(name, outputNumbers(isBits ? value.type : 'float32', data as ArrayLike<number>));
  }
  return numbers;
}

async function dispatchesOf(watch: Watch, run: () => Promise<void>): Promise<number> {
  const before = watch.dispatches;
  await run();
  return watch.dispatches - before;
}

function shapesOf(
  outputs: Ort.InferenceSession.OnnxValueMapType,
): { name: string; shape: readonly number[] }[] {
  return Object.entries(outputs).map(([name, value]) => ({ name, shape: value.dims }));
}

function release(outputs: Ort.InferenceSession.OnnxValueMapType): void {
  for (const tensor of Object.values(outputs)) tensor.dispose();
}
