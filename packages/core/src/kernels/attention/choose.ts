import { isProcessor, type Capabilities, type Precision } from '../../plan/capabilities.ts';
import { hasMatrices } from '../gemm/choose-matrix.ts';
import { matrixAttentionBytes, type MatrixAttentionShape } from './matrix.ts';
import type { AttentionProblem } from './problem.ts';
import { rowsWorkgroupBytes, type RowsShape } from './rows.ts';
import { wideBytes, wideThreads, type WideShape } from './wide.ts';
import type { WideMatrixShape } from './wide-matrix.ts';

/** How attention is computed. */
export type AttentionChoice =
  | { kind: 'rows'; shape: RowsShape }
  | { kind: 'matrix'; shape: MatrixAttentionShape }
  | { kind: 'wide'; shape: WideShape }
  /** Never by the rules: so far only emulated matrices have run it; the benchmark of kernels can. */
  | { kind: 'wide-matrix'; shape: WideMatrixShape };

/** Registers that a thread may spend on queries and results; more would spill or leave too few threads. */
const REGISTERS = 136;

/** Workgroups that about fill a large GPU: an H100 has 132 multiprocessors. */
const FULL_GPU = 120;

export function chooseAttention(
  problem: AttentionProblem,
  capabilities: Capabilities,
  precision: Precision,
): AttentionChoice {
  const size = Math.max(problem.headSize, problem.valueSize);
  const matrix =
    size <= LARGEST_NARROW_HEAD && hasMatrices(capabilities, precision)
      ? matrixShape(problem, capabilities)
      : undefined;
  if (matrix) return { kind: 'matrix', shape: matrix };
  // Registers end there. On processors it is compile time that grows with the size.
  if (size > (isProcessor(capabilities) ? 80 : LARGEST_NARROW_HEAD)) {
    const wide = wideShape(problem, capabilities);
    if (wide) return { kind: 'wide', shape: wide };
  }
  return { kind: 'rows', shape: rowsShape(problem, capabilities) };
}

/** Larger heads leave no registers for the results of whole rows. */
const LARGEST_NARROW_HEAD = 160;

/** More workgroup memory leaves room for one workgroup a multiprocessor. */
const TWO_RESIDENT_BYTES = 24576;

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

function matrixShape(problem: AttentionProblem, { limits }: Capabilities): MatrixAttentionShape | undefined {
  const { queries, keys, heads, batch, headSize, valueSize } = problem;
  const size = Math.max(headSize, valueSize);
  if (queries < 16) return undefined;
  // Text of 77 tokens: five tiles of 16 waste less than three of 32.
  const tileKeys = keys <= 128 ? 16 : 32;
  // Measured best where there is work for all: small heads want many subgroups to share a tile of keys.
  const most = tileKeys === 16 ? 8 : size <= 48 ? 16 : size <= 64 ? 4 : size <= 96 ? 8 : 12;
  // One subgroup of 32 copies 20 groups of 16 bytes a thread for keys of 160, and as many for values: a third of the
  // speed of two.
  const fewest = Math.ceil((tileKeys * Math.ceil(size / 16) * 2) / 32 / 10);
  const fits = (subgroups: number): boolean =>
    matrixAttentionBytes(problem, { subgroups, tileKeys }) <= limits.maxComputeWorkgroupStorageSize &&
    subgroups * 32 <= limits.maxComputeInvocationsPerWorkgroup;
  const fills = (subgroups: number): boolean =>
    Math.ceil(queries / (subgroups * 16)) * heads * batch >= FULL_GPU;
  const candidates = [16, 12, 8, 4, 2, 1].filter(
    (subgroups) => subgroups >= fewest && subgroups <= most && fits(subgroups),
  );
  const subgroups = candidates.find(fills) ?? candidates.at(-1);
  return subgroups === undefined ? undefined : { subgroups, tileKeys };
}

function rowsShape(problem: AttentionProblem, capabilities: Capabilities): RowsShape {
  const { features, subgroupMinSize, limits } = capabilities;
  const size = Math.max(problem.headSize, problem.valueSize);
  if (isProcessor(capabilities)) {
    // Reads cost more than registers there.
    const lanes = features.subgroups && size > 4 ? 2 : 1;
    return { threads: 32, lanes, rows: 4, tileKeys: 16, subgroups: features.subgroups };
  }
  const threads = 128;
  // Few queries (text encoders): shorter blocks give more workgroups.
  const wanted = problem.queries * problem.heads * problem.batch < 16384 ? 1 : 4;
  // Fewest lanes that leave room for so many queries a thread, then as many queries as fit.
  const registers = (lanes: number): number => 8 * Math.ceil(size / 4 / lanes);
  const mostLanes = features.subgroups ? Math.min(32, subgroupMinSize) : 4;
  let lanes = 1;
  while (lanes < mostLanes && lanes * 4 < size && registers(lanes) * wanted > REGISTERS) lanes *= 2;
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
