import { isProcessor, type Capabilities, type Precision } from '../../plan/capabilities.ts';
import { hasMatrices } from '../gemm/choose-matrix.ts';
import { directBytes, directThreads, type DirectShape } from './direct.ts';
import { matrixAttentionBytes, type MatrixAttentionShape } from './matrix.ts';
import type { AttentionProblem } from './problem.ts';
import { rowsWorkgroupBytes, type RowsShape } from './rows.ts';
import { wideBytes, wideThreads, type WideShape } from './wide.ts';
import { wideMatrixBytes, wideMatrixThreads, type WideMatrixShape } from './wide-matrix.ts';

/** How attention is computed. */
export type AttentionChoice =
  | { kind: 'direct'; shape: DirectShape }
  | { kind: 'rows'; shape: RowsShape }
  | { kind: 'matrix'; shape: MatrixAttentionShape }
  | { kind: 'wide'; shape: WideShape }
  | { kind: 'wide-matrix'; shape: WideMatrixShape };

/** Registers that a thread may spend on queries and results; more leave too few threads to hide latency. */
const REGISTERS = 80;

/** Workgroups that about fill a large GPU: an H100 has 132 multiprocessors. */
const FULL_GPU = 120;

export function chooseAttention(
  problem: AttentionProblem,
  capabilities: Capabilities,
  precision: Precision,
): AttentionChoice {
  const direct = isProcessor(capabilities) ? directShape(problem, capabilities) : undefined;
  if (direct) return { kind: 'direct', shape: direct };
  const size = Math.max(problem.headSize, problem.valueSize);
  if (hasMatrices(capabilities, precision)) {
    const matrix = size <= LARGEST_NARROW_HEAD ? matrixShape(problem, capabilities) : undefined;
    if (matrix) return { kind: 'matrix', shape: matrix };
    const wide = size > LARGEST_NARROW_HEAD ? wideMatrixShape(problem, capabilities) : undefined;
    if (wide) return { kind: 'wide-matrix', shape: wide };
  }
  if (size > LARGEST_NARROW_HEAD) {
    const wide = wideShape(problem, capabilities);
    if (wide) return { kind: 'wide', shape: wide };
  }
  return { kind: 'rows', shape: rowsShape(problem, capabilities) };
}

/** Larger heads leave no registers for the results of whole rows. */
const LARGEST_NARROW_HEAD = 160;

/** More workgroup memory leaves room for one workgroup a multiprocessor. */
const TWO_RESIDENT_BYTES = 24576;

/** A subgroup's registers hold results of 32 rows and 64 columns, and its slice of as many queries. */
function wideMatrixShape(problem: AttentionProblem, { limits }: Capabilities): WideMatrixShape | undefined {
  const { queries, headSize, valueSize } = problem;
  if (queries < 16) return undefined;
  const slices = Math.max(4, Math.ceil(Math.max(headSize, valueSize) / 64));
  return [32, 16]
    .map((tileKeys) => ({ slices, rows: 32, tileKeys }))
    .find(
      (shape) =>
        wideMatrixBytes(problem, shape) <= limits.maxComputeWorkgroupStorageSize &&
        wideMatrixThreads(shape) <= limits.maxComputeInvocationsPerWorkgroup,
    );
}

function wideShape(problem: AttentionProblem, { limits }: Capabilities): WideShape | undefined {
  const columnLanes = Math.max(8, Math.min(64, Math.ceil(problem.valueSize / 8)));
  return [64, 32]
    .map((tileKeys) => ({ columnLanes, tileKeys }))
    .find(
      (shape) =>
        wideBytes(problem, shape) <=
          Math.min(
            limits.maxComputeWorkgroupStorageSize,
            shape.tileKeys === 64 ? TWO_RESIDENT_BYTES : Infinity,
          ) && wideThreads(shape) <= limits.maxComputeInvocationsPerWorkgroup,
    );
}

/** None where results have too many columns for a workgroup's threads. */
function directShape(problem: AttentionProblem, { limits }: Capabilities): DirectShape | undefined {
  return [4, 2, 1]
    .map((blocks) => ({ blocks, tileKeys: 64 }))
    .find(
      (shape) =>
        directThreads(problem, shape) <= limits.maxComputeInvocationsPerWorkgroup &&
        directBytes(shape) <= limits.maxComputeWorkgroupStorageSize,
    );
}

function matrixShape(problem: AttentionProblem, { limits }: Capabilities): MatrixAttentionShape | undefined {
  const { queries, keys, heads, batch, headSize, valueSize } = problem;
  const size = Math.max(headSize, valueSize);
  if (queries < 16) return undefined;
  // Text of 77 tokens: five tiles of 16 waste less than three of 32. Small heads leave more registers to more workgroups with 16.
  const isShort = keys <= 128;
  const tileKeys = isShort || size <= 64 ? 16 : 32;
  // Measured best where there is work for all (H100).
  const most = size > 96 || (size <= 48 && !isShort) ? 8 : 4;
  const buffers = size <= 48 && !isShort ? 2 : 1;
  // One subgroup of 32 copies 20 groups of 16 bytes a thread for keys of 160, and as many for values: a third of the
  // speed of two.
  const fewest = Math.ceil((tileKeys * Math.ceil(size / 16) * 2) / 32 / 10);
  const fits = (subgroups: number): boolean =>
    matrixAttentionBytes(problem, { subgroups, tileKeys, buffers }) <=
      limits.maxComputeWorkgroupStorageSize && subgroups * 32 <= limits.maxComputeInvocationsPerWorkgroup;
  const fills = (subgroups: number): boolean =>
    Math.ceil(queries / (subgroups * 16)) * heads * batch >= FULL_GPU;
  const candidates = [8, 4, 2, 1].filter(
    (subgroups) => subgroups >= fewest && subgroups <= most && fits(subgroups),
  );
  const subgroups = candidates.find(fills) ?? candidates.at(-1);
  return subgroups === undefined ? undefined : { subgroups, tileKeys, buffers };
}

function rowsShape(
  problem: AttentionProblem,
  { features, subgroupMinSize, limits }: Capabilities,
): RowsShape {
  const size = Math.max(problem.headSize, problem.valueSize);
  const threads = 128;
  // Few queries (text encoders): shorter blocks give more workgroups.
  const wanted = problem.queries * problem.heads * problem.batch < 16384 ? 1 : 2;
  // Fewest lanes that leave room for so many queries a thread and make work for a large GPU, then as many queries as fit.
  const registers = (lanes: number): number => 8 * Math.ceil(size / 4 / lanes);
  const workgroups = (lanes: number): number =>
    Math.ceil((problem.queries * lanes) / threads) * problem.heads * problem.batch;
  const mostLanes = features.subgroups ? Math.min(32, subgroupMinSize) : 4;
  let lanes = 1;
  while (
    lanes < mostLanes &&
    lanes * 4 < size &&
    (registers(lanes) * wanted > REGISTERS || (lanes < 8 && workgroups(lanes) < FULL_GPU))
  )
    lanes *= 2;
  const rows = Math.max(1, Math.min(wanted, Math.floor(REGISTERS / registers(lanes))));
  const shape = {
    threads,
    lanes,
    rows,
    tileKeys: Math.max(16, lanes),
    subgroups: features.subgroups && lanes <= subgroupMinSize,
  };
  while (rowsWorkgroupBytes(problem, shape) > limits.maxComputeWorkgroupStorageSize) {
    if (shape.tileKeys === shape.lanes) shape.lanes /= 2;
    shape.tileKeys /= 2;
  }
  shape.rows = Math.max(1, Math.min(shape.rows, Math.floor(REGISTERS / registers(shape.lanes))));
  return shape;
}
