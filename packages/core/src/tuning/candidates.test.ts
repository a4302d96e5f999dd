import { expect, test } from 'vitest';
import { rankMatrixTiles } from '../kernels/gemm/choose-matrix.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import type { GemmProblem } from '../kernels/gemm/problem.ts';
import type { Capabilities } from '../plan/capabilities.ts';
import { candidatesFor } from './candidates.ts';

const limits = { maxComputeInvocationsPerWorkgroup: 1024, maxStorageBufferBindingSize: 2 ** 31 };
const capabilities = { limits } as Capabilities;

/** What is tried for a product: tile, split, and when integers are unpacked; the rules' choice first. */
function tried(bits?: 4 | 8): string[] {
  const b = { kind: 'weight', bits };
  const problem = {
    rows: 1024,
    columns: 640,
    depth: 5760,
    batch: [],
    output: {},
    b,
  } as unknown as GemmProblem;
  const rule: GemmChoice = { kind: 'matrix', ...rankMatrixTiles(problem, capabilities)[0]! };
  return [rule, ...candidatesFor({ kind: 'gemm', problem, rule }, capabilities)].map((choice) => {
    if (choice.kind !== 'matrix' || !('tile' in choice)) throw new Error('not a product on matrices');
    const { tile, slices, early } = choice;
    return `${tile.tileRows}x${tile.tileColumns}/${slices}${early ? ' early' : ''}`;
  });
}

test('weights of integers are tried with both times of unpacking, each way once', () => {
  const integers = tried(4);
  const tiles = new Set(integers.map((name) => name.replace(' early', '')));
  expect(integers.toSorted()).toEqual([...tiles].flatMap((name) => [name, `${name} early`]).toSorted());
  expect(integers[0]).toBe('64x160/2 early');
});

test('floats have nothing to unpack', () => {
  const floats = tried();
  expect(new Set(floats).size).toBe(floats.length);
  expect(floats.filter((name) => name.includes('early'))).toEqual([]);
  expect(floats[0]).toBe('64x160/2');
});
