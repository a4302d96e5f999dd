import { Tensor } from '@calotype/core';
import type { DenoiseJob } from './denoise-job.ts';
import type { ControlNet } from './control.ts';
import { emptyTensor, type RowRange } from './memory.ts';
import { RowCalls, type NamedTensors, type RowGraph } from './row-calls.ts';

/** One job's rows in a batch. */
export interface Segment {
  job: DenoiseJob;
  /** First of its rows among the batch's. */
  first: number;
  rows: number;
  guided: boolean;
}

/** What a call for these jobs needs and keeps: their conditioning laid out row by row, room for the model's input. */
export class Batch {
  readonly segments: readonly Segment[];
  /** Rows of all segments, and those that fill the batch up. */
  readonly rows: number;
  readonly calls: RowCalls;
  /** The model's input for all rows. */
  readonly sample: Tensor<'float32'>;
  readonly controlCalls: RowCalls | undefined;
  /** What the control net gets in place of `sample`, where the model has channels beyond the latents'. */
  readonly controlSample: Tensor<'float32'> | undefined;
  /** Residuals of zeros for steps in which no control net takes part; made when first needed. */
  zeros: NamedTensors | undefined;

  /** @param rowShape the model's input for one row, without the batch axis */
  constructor(
    graph: RowGraph,
    jobs: readonly DenoiseJob[],
    rowShape: readonly number[],
    control: ControlNet | undefined,
  ) {
    let first = 0;
    this.segments = jobs.map((job) => {
      const segment = { job, first, rows: job.rows, guided: job.guided };
      first += segment.rows;
      return segment;
    });
    this.rows = first + fillingRows(graph, this.segments);
    first = this.rows;
    const owned: { dispose(): void }[] = [];
    try {
      this.sample = emptyTensor(graph.engine, [first, ...rowShape], 'model input');
      owned.push(this.sample);
      const [job] = jobs;
      const shared = job!.conditioning.shared;
      const stable = Object.fromEntries(
        Object.keys(job!.conditioning.rows)
          .filter((name) => graph.takes(name))
          .map((name) => [name, this.#rowsOf(name)]),
      );
      this.calls = new RowCalls(graph, first, stable, only(shared, graph));
      owned.push(this.calls);
      if (control) {
        if (job!.extraChannels) {
          this.controlSample = emptyTensor(graph.engine, [first, ...job!.shape.slice(1)], 'model input');
          owned.push(this.controlSample);
        }
        const names = Object.keys(stable).filter((name) => control.graph.takes(name));
        this.controlCalls = new RowCalls(
          control.graph,
          first,
          {
            ...Object.fromEntries(names.map((name) => [name, stable[name]!])),
            controlnet_cond: this.#controlImages(),
          },
          control.graph.takes('conditioning_scale') ? { conditioning_scale: one(control.graph) } : {},
        );
      }
    } catch (error) {
      for (const item of owned) item.dispose();
      throw error;
    }
  }

  /** Whether this is a batch of these jobs, for the step that each is at. */
  fits(jobs: readonly DenoiseJob[]): boolean {
    return (
      jobs.length === this.segments.length &&
      this.segments.every(({ job, guided }, i) => job === jobs[i] && guided === job.guided)
    );
  }

  dispose(): void {
    this.sample.dispose();
    this.controlSample?.dispose();
    this.calls.dispose();
    this.controlCalls?.dispose();
    for (const tensor of Object.values(this.zeros ?? {})) tensor.dispose();
  }

  /** Where the rows of a conditioning input lie: unguided steps leave out those without the prompt. */
  #rowsOf(name: string): RowRange[] {
    return this.segments.map(({ job, rows }) => {
      const tensor = job.conditioning.rows[name]!;
      return { tensor, first: tensor.shape[0]! - rows, count: rows };
    });
  }

  #controlImages(): RowRange[] {
    return this.segments.flatMap(({ job, rows }) => {
      const { image } = job.control!;
      const count = image.shape[0]!;
      return Array.from({ length: rows }, (_, row) => ({ tensor: image, first: row % count, count: 1 }));
    });
  }
}

/**
 * Rows without a job of their own, which repeat the last one, so that there are programs for 1, 2, 4, … jobs only: what each costs to make and holds is more
 * than a few rows too many.
 */
function fillingRows(graph: RowGraph, segments: readonly Segment[]): number {
  if (graph.fixedRows !== undefined) return 0;
  const jobs = segments.length;
  return (2 ** Math.ceil(Math.log2(jobs)) - jobs) * segments.at(-1)!.rows;
}

function only(tensors: Readonly<NamedTensors>, graph: RowGraph): NamedTensors {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => graph.takes(name)));
}

/** The scale that some exports take as an input: residuals are scaled here, job by job. */
function one(graph: RowGraph): Tensor {
  const rank = graph.shapeOf('conditioning_scale')?.length ?? 0;
  return Tensor.from('float32', new Array<number>(rank).fill(1), [1]);
}
