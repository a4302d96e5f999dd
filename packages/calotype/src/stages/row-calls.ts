import { Tensor, type DataType, type Engine, type RunOptions, type Session } from '@calotype/core';
import { copyRows, emptyRows, gatherRows, type RowRange } from './memory.ts';

/** Tensors by the names of a graph's inputs or outputs. */
export type NamedTensors = Record<string, Tensor>;

/** What a graph with a row for every picture declares. */
export class RowGraph {
  readonly engine: Engine;
  readonly session: Session;
  /** The input whose first axis is the batch, by which that of the others is known. */
  readonly main: string;
  /** Rows that the graph takes at once, where its export fixed them. */
  readonly fixedRows: number | undefined;
  /** Whether every row may have a timestep of its own. */
  readonly timestepPerRow: boolean;

  constructor(engine: Engine, session: Session, main: string) {
    this.engine = engine;
    this.session = session;
    this.main = main;
    const batch = this.shapeOf(main)?.[0];
    const timestep = this.shapeOf('timestep') ?? [];
    this.fixedRows = typeof batch === 'number' ? batch : undefined;
    // A length of its own (optimum calls it `steps`) is any: as many as there are rows, or one for all.
    const [steps] = timestep;
    this.timestepPerRow = timestep.length === 1 && (typeof steps !== 'number' || steps === batch);
  }

  takes(input: string): boolean {
    return this.session.inputs.some(({ name }) => name === input);
  }

  shapeOf(input: string): readonly (number | string | undefined)[] | undefined {
    return this.session.inputs.find(({ name }) => name === input)?.shape;
  }

  /** The same memory under the dtype that the graph declares. It stays `tensor`'s. */
  declared(name: string, tensor: Tensor): Tensor {
    const dtype = this.#dtypeOf(name);
    return dtype === tensor.dtype ? tensor : new Tensor(dtype, tensor.shape, tensor.gpu!);
  }

  /** Timesteps in the dtype and rank that the graph declares. */
  timesteps(values: readonly number[]): Tensor {
    const rank = this.shapeOf('timestep')?.length ?? 1;
    const used = this.timestepPerRow ? values : values.slice(0, 1);
    return Tensor.from(this.#dtypeOf('timestep'), rank === 0 ? [] : [used.length], used);
  }

  #dtypeOf(name: string): Exclude<DataType, 'string'> {
    const dtype = this.session.inputs.find((input) => input.name === name)?.dtype;
    return dtype === undefined || dtype === 'string' ? 'float32' : dtype;
  }
}

/**
 * Calls of a graph for a fixed set of rows: one call where the graph takes any number of rows, else as many as it
 * needs, the last one filled up by repeating the last row. Inputs that stay the same from step to step are laid out
 * once, so that the graph sees the same tensors again.
 */
export class RowCalls {
  readonly #graph: RowGraph;
  readonly #rows: number;
  readonly #perCall: number;
  /** By call. */
  readonly #stable: readonly NamedTensors[];
  readonly #owned: Tensor[] = [];
  /** Fills in what is laid out; goes with the first run. */
  #copies: (() => void)[] = [];

  /**
   * @param stable by input: rows that belong together, in order
   * @param shared inputs without rows
   */
  constructor(
    graph: RowGraph,
    rows: number,
    stable: Readonly<Record<string, readonly RowRange[]>>,
    shared: Readonly<NamedTensors>,
  ) {
    this.#graph = graph;
    this.#rows = rows;
    this.#perCall = graph.fixedRows ?? rows;
    const calls = Array.from({ length: Math.ceil(rows / this.#perCall) }, (_, i) => i * this.#perCall);
    this.#stable = calls.map((first) => ({
      ...mapValues(stable, (ranges, name) => graph.declared(name, this.#layOut(name, ranges, first))),
      ...mapValues(shared, (tensor, name) => graph.declared(name, tensor)),
    }));
  }

  /**
   * @param varying inputs of this step with all rows
   * @param options.after gets the outputs with all rows
   * @returns the graph's outputs, with all rows; the caller disposes of them
   */
  async run(
    varying: Readonly<NamedTensors>,
    timesteps: readonly number[],
    options: Pick<RunOptions, 'signal' | 'before' | 'after'>,
  ): Promise<NamedTensors> {
    const { engine, session } = this.#graph;
    const { signal, after } = options;
    const before = (): void => {
      for (const copy of this.#copies) copy();
      options.before?.();
    };
    if (this.#perCall === this.#rows) {
      const inputs = mapValues(varying, (tensor, name) => this.#graph.declared(name, tensor));
      const timestep = this.#graph.timesteps(timesteps);
      const outputs = await session.run({ ...inputs, ...this.#stable[0]!, timestep }, { ...options, before });
      this.#copies = [];
      return outputs;
    }
    // Rows are copied before each call, and after the last.
    engine.launches.together(before);
    this.#copies = [];
    const outputs = await this.#inParts(varying, timesteps, signal);
    if (after) engine.launches.together(() => after(outputs));
    return outputs;
  }

  async #inParts(
    varying: Readonly<NamedTensors>,
    timesteps: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<NamedTensors> {
    const { session } = this.#graph;
    const results: NamedTensors[] = [];
    const slices: Tensor[] = [];
    try {
      for (const [call, stable] of this.#stable.entries()) {
        const first = call * this.#perCall;
        const inputs = mapValues(varying, (tensor, name) => {
          const slice = this.#slice([{ tensor, first: 0, count: this.#rows }], first, name);
          slices.push(slice);
          return this.#graph.declared(name, slice);
        });
        const times = Array.from(
          { length: this.#perCall },
          (_, i) => timesteps[Math.min(first + i, this.#rows - 1)]!,
        );
        const timestep = this.#graph.timesteps(times);
        results.push(await session.run({ ...inputs, ...stable, timestep }, signal ? { signal } : {}));
      }
      if (results.length === 1) return results.pop()!;
      return mapValues(results[0]!, (output, name) => {
        const parts = results.map((outputs, call) => ({
          tensor: outputs[name]!,
          first: 0,
          count: Math.min(this.#perCall, this.#rows - call * this.#perCall),
        }));
        return gatherRows(this.#graph.engine, parts, [this.#rows, ...output.shape.slice(1)], name);
      });
    } finally {
      for (const tensor of slices) tensor.dispose();
      for (const outputs of results) for (const tensor of Object.values(outputs)) tensor.dispose();
    }
  }

  /** Does what the first run would: uploads weights, compiles. */
  async prepare(varying: Readonly<NamedTensors>, signal: AbortSignal | undefined): Promise<void> {
    const inputs = mapValues(varying, (tensor, name) => {
      // The same storage, which plans depend on, in the shape of one call.
      const shape = [this.#perCall, ...tensor.shape.slice(1)];
      return this.#graph.declared(name, new Tensor(tensor.dtype, shape, tensor.gpu!));
    });
    const timestep = this.#graph.timesteps(new Array<number>(this.#perCall).fill(0));
    await this.#graph.session.prepare({ ...inputs, ...this.#stable[0]!, timestep }, signal ? { signal } : {});
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }

  /** The rows of one call; where those are a tensor as it is, that tensor. */
  #layOut(name: string, ranges: readonly RowRange[], first: number): Tensor {
    if (isWhole(ranges, this.#perCall, ranges[0]!.tensor)) return ranges[0]!.tensor;
    const { engine } = this.#graph;
    const rows = this.#rowsOf(ranges, first);
    const laidOut = emptyRows(engine, rows, this.#shapeOf(rows), name);
    this.#owned.push(laidOut);
    this.#copies.push(() => copyRows(engine, rows, laidOut));
    return laidOut;
  }

  #slice(ranges: readonly RowRange[], first: number, label: string): Tensor {
    const rows = this.#rowsOf(ranges, first);
    return gatherRows(this.#graph.engine, rows, this.#shapeOf(rows), label);
  }

  /** Where the rows of one call lie. */
  #rowsOf(ranges: readonly RowRange[], first: number): RowRange[] {
    const rows = ranges.flatMap(({ tensor, first: start, count }) =>
      Array.from({ length: count }, (_, i) => ({ tensor, first: start + i, count: 1 })),
    );
    const wanted = Array.from(
      { length: this.#perCall },
      (_, i) => rows[Math.min(first + i, rows.length - 1)]!,
    );
    return joined(wanted);
  }

  #shapeOf([range]: readonly RowRange[]): number[] {
    return [this.#perCall, ...range!.tensor.shape.slice(1)];
  }
}

/** Whether the rows of a single call are all rows of one tensor. */
function isWhole(ranges: readonly RowRange[], perCall: number, tensor: Tensor): boolean {
  const [range] = ranges;
  return ranges.length === 1 && range!.first === 0 && range!.count === perCall && tensor.shape[0] === perCall;
}

/** Joins neighbouring rows of a tensor to one range. */
function joined(ranges: readonly RowRange[]): RowRange[] {
  const result: RowRange[] = [];
  for (const range of ranges) {
    const last = result[result.length - 1];
    if (last?.tensor === range.tensor && last.first + last.count === range.first) last.count += range.count;
    else result.push({ ...range });
  }
  return result;
}

/** An object of the same keys. */
export function mapValues<T, U>(
  object: Readonly<Record<string, T>>,
  change: (value: T, key: string) => U,
): Record<string, U> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));
}
