import type { Engine } from '../gpu/engine.ts';
import { Program } from '../gpu/program.ts';
import { ResidentWeights } from '../gpu/resident-weights.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { attention } from '../kernels/attention/attention.ts';
import type { AttentionChoice } from '../kernels/attention/choose.ts';
import type { GemmChoice } from '../kernels/gemm/choose.ts';
import { gemm } from '../kernels/gemm/gemm.ts';
import { storageBits } from '../kernels/shader.ts';
import type { PlanBuilder } from '../plan/builder.ts';
import type { Pair } from '../plan/joins.ts';
import type { Capabilities, Precision } from '../plan/capabilities.ts';
import { planByHand } from '../plan/plan-graph.ts';
import type { BufferId, Plan, Storage, TensorView } from '../plan/plan.ts';
import type { PlannedProblem } from './problems.ts';

/** Bytes of weights after which no cache holds the first ones any more. */
const CACHES = 96e6;
/** Most calls in a run. */
const CALLS = 24;
/** A measurement takes at least this long, so that neither the start nor the clock's grain counts. */
const LEAST_MS = 6;

/** A problem's calls, one after the other, each with weights of its own as a network has them. */
export interface Probe {
  plan: Plan;
  calls: number;
}

/** Plans a problem alone, computed as `choice` says, without what finishes its results. */
export function probeOf(
  planned: PlannedProblem,
  choice: GemmChoice | AttentionChoice,
  capabilities: Capabilities,
  precision: Precision,
): Probe {
  const graph: Graph = { inputs: [], outputs: [], nodes: [] };
  const inputStorage = new Map<string, Storage>();
  const operand = (name: string, view: TensorView): void => {
    graph.inputs.push({ name, dtype: 'float32', shape: [extent(view)], origin: { kind: 'input' } });
    inputStorage.set(name, view.storage);
  };
  const { output } = planned.problem;
  const result = 'view' in output ? output.view : output;
  const node: Node = {
    op: 'Probe',
    domain: '',
    name: 'probe',
    opset: 1,
    inputs: [],
    outputs: [],
    attributes: new Map(),
  };
  graph.outputs.push({
    name: 'result',
    dtype: result.storage === 'f32' ? 'float32' : 'float16',
    shape: [extent(result)],
    origin: { kind: 'node', node, index: 0 },
  });
  let calls = CALLS;
  let bits: 4 | 8 | undefined;
  let emit: (builder: PlanBuilder, at: (name: string, view: TensorView) => TensorView) => void;
  if (planned.kind === 'gemm') {
    const { problem } = planned;
    const { a, b, gate } = problem;
    const pair = a.kind === 'winograd' ? undefined : a.pair;
    operand('a', pair ? pair.tensors[0] : a.view);
    if (pair) operand('a_second', pair.tensors[1]);
    operand('b', b.view);
    if (gate?.bias) operand('bias', gate.bias);
    bits = b.kind === 'weight' ? b.bits : undefined;
    const weightBits = extent(b.view) * (bits ?? storageBits[b.view.storage]);
    calls = Math.max(3, Math.min(CALLS, Math.ceil((CACHES * 8) / weightBits)));
    emit = (builder, at) => {
      const pairAt = ({ tensors: [first, second], widths }: Pair): Pair => ({
        tensors: [at('a', first), at('a_second', second)],
        widths,
      });
      gemm(builder, {
        ...problem,
        a: { ...a, view: at('a', a.view), ...(pair && { pair: pairAt(pair) }) },
        b: { ...b, view: at('b', b.view) },
        ...(gate?.bias && { gate: { ...gate, bias: at('bias', gate.bias) } }),
        output: { ...problem.output, view: at('result', problem.output.view) },
        epilogue: undefined,
      });
    };
  } else {
    const { problem } = planned;
    const { q, k, v, mask } = problem;
    for (const [name, view] of Object.entries({ q, k, v, ...(mask && { mask }) })) operand(name, view);
    emit = (builder, at) =>
      attention(builder, {
        ...problem,
        q: at('q', q),
        k: at('k', k),
        v: at('v', v),
        ...(mask && { mask: at('mask', mask) }),
        output: at('result', problem.output),
        epilogue: undefined,
      });
  }
  const plan = planByHand(
    graph,
    {
      capabilities,
      precision,
      tuning: { gemm: () => choice as GemmChoice, attention: () => choice as AttentionChoice },
      // Packed in a phase of its own, as weights are.
      stableInputs: new Set(['b', 'bias']),
      inputStorage,
      // In blocks of ours, wherever the integers come from.
      ...(bits && { weights: bits === 4 ? 'int4' : 'int8', quantizable: new Set([node]) }),
    },
    (builder) => {
      builder.enter(node);
      const values = new Map<string, Value>(
        [...graph.inputs, ...graph.outputs].map((value) => [value.name, value]),
      );
      builder.allocate(values.get('result')!, { storage: result.storage });
      const at = (name: string, view: TensorView): TensorView => ({
        ...view,
        buffer: builder.view(values.get(name)!).buffer,
      });
      for (let call = 0; call < calls; call++) emit(builder, at);
    },
  );
  return { plan, calls };
}

/**
 * Milliseconds of one call.
 *
 * @param warmUpMs runs it for so long before: a GPU that was idle takes a while to raise its clocks
 */
export async function timeOf(
  { plan, calls }: Probe,
  engine: Engine,
  noise: GPUBuffer,
  warmUpMs = 0,
): Promise<number> {
  const weights = new ResidentWeights(engine);
  const program = await Program.prepare(engine, plan, weights);
  const result = [...plan.outputs.values()][0]!.buffer;
  const target = engine.buffers.acquire(plan.buffers[result]!.bytes, 'tuning');
  try {
    const external = new Map<BufferId, GPUBuffer>([[result, target]]);
    for (const view of plan.inputs.values()) external.set(view.buffer, noise);
    // Packs the weights too.
    await program.run(external);
    await engine.until(engine.device.queue.onSubmittedWorkDone());
    const runs = async (count: number): Promise<number> => {
      const started = performance.now();
      for (let i = 0; i < count; i++) await program.run(external, { fresh: false });
      await engine.until(engine.device.queue.onSubmittedWorkDone());
      return performance.now() - started;
    };
    for (let spent = 0; spent < warmUpMs;) spent += await runs(1);
    let count = 1;
    let elapsed = await runs(count);
    while (elapsed < LEAST_MS)
      elapsed = await runs((count *= Math.min(8, Math.ceil((1.5 * LEAST_MS) / elapsed))));
    return Math.min(elapsed, await runs(count)) / count / calls;
  } finally {
    engine.buffers.release(target);
    program.dispose();
    weights.dispose();
  }
}

/** Bytes of the largest operand. */
export function operandBytes({ plan }: Probe): number {
  return Math.max(...[...plan.inputs.values()].map(({ buffer }) => plan.buffers[buffer]!.bytes));
}

function extent({ shape, strides, offset }: TensorView): number {
  return shape.reduce((last, size, axis) => last + (size - 1) * Math.abs(strides[axis]!), offset) + 1;
}
