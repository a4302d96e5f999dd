import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fixturesDir } from '@calotype/dev/fixtures';
import { unpackNodeTests } from '@calotype/dev/onnx-node';
import { buildTemplate } from '../../src/graph/build.ts';
import { NeedsInputValue } from '../../src/graph/force.ts';
import type { Graph } from '../../src/graph/graph.ts';
import { optimise } from '../../src/graph/passes/index.ts';
import { specialize } from '../../src/graph/specialize.ts';
import type { Model } from '../../src/onnx/model.ts';
import { readModel } from '../../src/onnx/reader.ts';
import type { CpuTensor } from '../../src/ops/op.ts';
import { mapStore } from '../../src/source/map-store.ts';
import { declaredAs, readReferences, type Reference } from './reference.ts';

/** One of ONNX's own tests of an operator. */
export interface NodeTest {
  name: string;
  source: Model;
  /** Inputs and outputs. */
  references: Map<string, Reference>;
}

/** Reads all of them. */
export async function* nodeTests(): AsyncGenerator<NodeTest> {
  const tar = await readFile(join(fixturesDir, 'onnx-node.tar'));
  for (const { name, model, reference } of await unpackNodeTests(new Uint8Array(tar))) {
    const source = await readModel(mapStore({ 'model.onnx': model }), 'model.onnx');
    yield { name, source, references: readReferences(reference) };
  }
}

/**
 * Specializes and optimises, with the values of those inputs alone that shapes depend on.
 *
 * @throws CalotypeError for what is left to the fallback
 */
export async function compile(source: Model, inputs: ReadonlyMap<string, CpuTensor>): Promise<Graph> {
  const template = await buildTemplate(source, 'model.onnx');
  const own = new Map(template.inputs.map(({ name, shape }) => [name, declaredAs(inputs.get(name)!, shape)]));
  const values = new Map<string, CpuTensor>();
  for (;;) {
    try {
      return optimise(await specialize(template, own, values));
    } catch (error) {
      if (!(error instanceof NeedsInputValue)) throw error;
      for (const name of error.inputs) values.set(name, own.get(name)!);
    }
  }
}
