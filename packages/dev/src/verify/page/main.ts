import type { Fixture, Verdict, VerifyOptions, VerifyPage } from '../types.ts';
import { offerDefaultLimits } from './default-limits.ts';
import { verifyPipeline } from './pipeline.ts';
import { verifySamplers } from './samplers.ts';
import { verifyTokenizer } from './tokenizer.ts';
import { verifyAgainstOnnxruntime, verifyGraph } from './graph.ts';

async function verify(fixture: Fixture, options: VerifyOptions): Promise<Verdict> {
  try {
    if (options.defaultLimits) await offerDefaultLimits();
    return await verifyKind(fixture, options);
  } catch (error) {
    return { status: 'failed', path: '–', detail: describe(error) };
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\nbecause of ${describe(error.cause)}`;
  return `${error.name}: ${error.message}${cause}`;
}

async function verifyKind(fixture: Fixture, options: VerifyOptions): Promise<Verdict> {
  switch (fixture.kind) {
    case 'graph':
      return verifyGraph(fixture, options);
    case 'compare':
      return verifyAgainstOnnxruntime(fixture, options);
    case 'pipeline':
      return verifyPipeline(fixture, options);
    case 'samplers':
      return verifySamplers(fixture);
    case 'tokenizer':
      return verifyTokenizer(fixture);
    case 'unsupported':
      return { status: 'unsupported', path: '–', detail: fixture.reason };
  }
}

async function adapter(): Promise<string> {
  const found = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (!found) return 'no WebGPU adapter';
  const { vendor, architecture, device, description } = found.info;
  return [vendor, architecture, device, description].filter(Boolean).join(' ') || 'an unnamed adapter';
}

declare global {
  var calotypeVerify: VerifyPage;
}

globalThis.calotypeVerify = { adapter, verify };
