import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fixturesDir } from '@calotype/dev/fixtures';
import { expect, test, vi } from 'vitest';
import { CalotypeError } from '../src/errors.ts';
import type { Model } from '../src/onnx/model.ts';
import { readModel } from '../src/onnx/reader.ts';
import type { CpuTensor } from '../src/ops/op.ts';
import { lookup, needsRareOperators } from '../src/ops/registry.ts';
import { mapStore } from '../src/source/map-store.ts';
import { compile, nodeTests } from './conformance/node-tests.ts';
import { model, type ModelSpec, type NodeSpec } from './onnx-writer.ts';

// Nothing may import `run-graph.ts` here, and the tests keep their order: the first ones need the rare operators not to
// be loaded. Test files share their modules, and another may have loaded them.
vi.hoisted(() => vi.resetModules());

async function read(bytes: Uint8Array<ArrayBuffer>): Promise<Model> {
  return readModel(mapStore({ 'model.onnx': bytes }), 'model.onnx', { allowMissingExternalData: true });
}

async function modelIn(folder: string): Promise<Model> {
  return read(new Uint8Array(await readFile(join(folder, 'model.onnx'))));
}

const hasRare = (): boolean => lookup('', 'Einsum') !== undefined;

test('common operators expand into common operators', { timeout: 120_000 }, async () => {
  const compiled = new Set<string>();
  for await (const { name, source, references } of nodeTests()) {
    if (needsRareOperators(source)) continue;
    try {
      await compile(source, references);
      for (const { op } of source.graph.nodes) compiled.add(op);
    } catch (error) {
      // Left to the fallback.
      if (!(error instanceof CalotypeError)) throw new Error(name, { cause: error });
    }
  }
  expect(hasRare()).toBe(false);
  // As many operators as ONNX tests of those in the common tables.
  expect(compiled.size).toBeGreaterThan(120);
});

test.each(['sd', 'sd-turbo', 'sd-turbo-dynamo', 'xl', 'inpaint', 'consistency'])(
  'tiny-%s has only common operators, also when it is optimised',
  async (name) => {
    const folder = join(fixturesDir, `tiny-${name}`);
    for (const entry of await readdir(folder, { recursive: true })) {
      if (!entry.endsWith('model.onnx')) continue;
      const source = await modelIn(join(folder, entry, '..'));
      expect(needsRareOperators(source), entry).toBe(false);
      const inputs = source.graph.inputs.map(({ name: input, dtype, shape }): [string, CpuTensor] => {
        const dims = shape!.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim!] ?? 1)));
        const data = new Float64Array(dims.reduce((a, b) => a * b, 1));
        return [input, { dtype: dtype!, shape: dims, data }];
      });
      await compile(source, new Map(inputs));
    }
    expect(hasRare()).toBe(false);
  },
);

const sizes: Readonly<Record<string, number>> = { sequence: 77, sequence_length: 77, height: 16, width: 16 };

const pool: NodeSpec = { op: 'GlobalMaxPool', inputs: ['x'], outputs: ['y'] };
const inGraph: ModelSpec = {
  inputs: [{ name: 'x', dtype: 'float32', shape: [1, 1, 4, 4] }],
  outputs: [{ name: 'y', dtype: 'float32' }],
  nodes: [pool],
};
const inBranch: ModelSpec = {
  ...inGraph,
  initializers: { condition: { dtype: 'bool', dims: [], raw: Uint8Array.of(1) } },
  nodes: [
    {
      op: 'If',
      inputs: ['condition'],
      outputs: ['y'],
      attributes: {
        then_branch: { graph: { nodes: [pool], outputs: [{ name: 'y', dtype: 'float32' }] } },
        else_branch: { graph: { nodes: [pool], outputs: [{ name: 'y', dtype: 'float32' }] } },
      },
    },
  ],
};
const inFunction: ModelSpec = {
  ...inGraph,
  opsets: { '': 17, f: 1 },
  functions: [{ name: 'F', domain: 'f', opsets: { '': 17 }, inputs: ['x'], outputs: ['y'], nodes: [pool] }],
  nodes: [{ op: 'F', domain: 'f', inputs: ['x'], outputs: ['y'] }],
};

test.each(Object.entries({ graph: inGraph, branch: inBranch, function: inFunction }))(
  'loads the rare operators for one in a %s, also for several models at once',
  async (_, spec) => {
    vi.resetModules();
    const registry = await import('../src/ops/registry.ts');
    const source = await read(model(spec));
    expect(registry.lookup('', 'GlobalMaxPool')).toBeUndefined();
    await Promise.all([registry.loadOperators(source), registry.loadOperators(source)]);
    expect(registry.lookup('', 'GlobalMaxPool')).toBeDefined();
    expect(registry.lookup('com.microsoft', 'MatMulNBits')).toBeDefined();
  },
);

test('loads nothing for calls of functions', async () => {
  const { functions, ...rest } = inFunction;
  const common = functions!.map((f) => ({ ...f, nodes: [{ ...pool, op: 'Relu' }] }));
  expect(needsRareOperators(await read(model({ ...rest, functions: common })))).toBe(false);
});
