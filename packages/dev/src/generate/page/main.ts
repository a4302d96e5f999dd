import { TextToImageClient } from 'calotype';
import type { GenerateOutcome, GeneratePage, GenerateRequest, ProgressEvent } from '../types.ts';

declare global {
  var calotypeGenerate: GeneratePage;
  /** Supplied by the command. */
  var reportProgress: (event: ProgressEvent) => Promise<void>;
}

function report(event: ProgressEvent): void {
  void globalThis.reportProgress(event);
}

async function generate({ model, precision, ...request }: GenerateRequest): Promise<GenerateOutcome> {
  const started = performance.now();
  using client = await TextToImageClient.fromPretrained(new URL(model, location.href), {
    ...(precision && { precision }),
    onProgress: (progress) => report({ phase: 'load', ...progress }),
  });
  const loadMs = performance.now() - started;
  const { images, seed, timings } = await client.generate({
    ...request,
    output: 'blob',
    onProgress: (progress) => report({ phase: 'generate', ...progress }),
  });
  const blob = images[0]!;
  const { width, height } = await createImageBitmap(blob);
  return {
    png: await toBase64(blob),
    width,
    height,
    seed: Number(seed),
    steps: request.numInferenceSteps ?? client.info.defaults.numInferenceSteps,
    guidanceScale: request.guidanceScale ?? client.info.defaults.guidanceScale,
    adapter: client.info.adapter,
    precision: client.info.precision,
    warnings: client.info.warnings,
    loadMs,
    encodeMs: timings.encodeMs,
    denoiseMs: timings.denoiseMs,
    decodeMs: timings.decodeMs,
  };
}

async function toBase64(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = '';
  // Spread in pieces: a call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 0x8000)
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

async function hasAdapter(): Promise<boolean> {
  return Boolean(await navigator.gpu?.requestAdapter());
}

globalThis.calotypeGenerate = { generate, hasAdapter };
