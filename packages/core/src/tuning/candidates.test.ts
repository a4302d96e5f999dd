import { expect, test } from 'vitest';
import { matrixTiles, rankMatrixTiles } from '../kernels/gemm/choose-matrix.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import type { GemmProblem } from '../kernels/gemm/problem.ts';
import type { Capabilities } from '../plan/capabilities.ts';
import { candidatesFor } from './candidates.ts';

const limits = { maxComputeInvocationsPerWorkgroup: 1024, maxStorageBufferBindingSize: 2 ** 31 };
const capabilities = { limits } as Capabilities;

test('other splits and tiles of matrices are tried after those of the rules, each once', () => {
  const problem = {
    rows: 1024,
    columns: 640,
    depth: 5760,
    batch: [],
    a: { kind: 'dense' },
    b: { kind: 'weight' },
    output: {},
  } as unknown as GemmProblem;
  const rule: GemmChoice = { kind: 'matrix', ...rankMatrixTiles(problem, capabilities)[0]! };
  const tried = [rule, ...candidatesFor({ kind: 'gemm', problem, rule }, capabilities)].map((choice) => {
    if (choice.kind !== 'matrix' || !('tile' in choice)) throw new Error('not a product on matrices');
    const { tile, slices } = choice;
    return `${Object.keys(matrixTiles).find((name) => matrixTiles[name] === tile)}/${slices}`;
  });
  expect(tried).toEqual(['64x160x64-8/2', '64x160x64-8/1', '128x160x32-8/4', '128x160x32-4/4']);
});
