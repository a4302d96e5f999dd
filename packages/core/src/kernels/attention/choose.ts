import { isProcessor, type Capabilities } from '../../plan/capabilities.ts';
import type { AttentionProblem } from './problem.ts';
import { rowsWorkgroupBytes, type RowsShape } from './rows.ts';

/** How attention is computed. */
export type AttentionChoice = { kind: 'rows'; shape: RowsShape };

/** Registers that a thread may spend on queries and results; more would spill or leave too few threads. */
const REGISTERS = 136;

export function chooseAttention(problem: AttentionProblem, capabilities: Capabilities): AttentionChoice {
  return { kind: 'rows', shape: rowsShape(problem, capabilities) };
}

function rowsShape(
  problem: AttentionProblem,
  { features, subgroupMinSize, limits }: Capabilities,
): RowsShape {
  const size = Math.max(problem.headSize, problem.valueSize);
  const threads = 128;
  // Fewest lanes that leave room for four queries a thread, then as many queries as fit.
  const registers = (lanes: number): number => 8 * Math.ceil(size / 4 / lanes);
  const mostLanes = features.subgroups ? Math.min(32, subgroupMinSize) : 4;
  let lanes = 1;
  while (lanes < mostLanes && lanes * 4 < size && registers(lanes) * 4 > REGISTERS) lanes *= 2;
  // Few queries (text encoders): shorter blocks give more workgroups.
  const wanted = problem.queries * problem.heads * problem.batch < 16384 ? 1 : 4;
  const rows = Math.max(1, Math.min(4, wanted, Math.floor(REGISTERS / registers(lanes))));
  const shape = {
    threads,
    lanes,
    rows,
    tileKeys: Math.max(16, lanes),
    subgroups: features.subgroups && lanes <= subgroupMinSize,
  };
  while (
    shape.tileKeys > lanes &&
    rowsWorkgroupBytes(problem, shape) > limits.maxComputeWorkgroupStorageSize
  ) {
    shape.tileKeys /= 2;
  }
  return shape;
}
