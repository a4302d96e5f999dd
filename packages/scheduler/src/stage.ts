/** Where a request stands inside a stage, as data that can be cloned and resumed elsewhere. */
export interface Checkpoint {
  /** Stage it belongs to. */
  stage: string;
  /** Steps that need not be done again. */
  step: number;
  /** Belongs to the stage. */
  data: unknown;
}

/** What a stage gets to start a job with. */
export interface StageContext {
  /** Aborts when the request is cancelled or fails. */
  signal: AbortSignal;
  /** Sends something of the stage's own (a preview) to whoever made the request. */
  emit: (event: unknown) => void;
  /** Where to go on; `undefined` to begin at the beginning. */
  resume: Checkpoint | undefined;
}

/** One request's work at one stage, done in steps. It owns what `start` was given. */
export interface StageJob<Out> {
  /** Steps in all, at least 1. */
  readonly steps: number;
  /** Steps done; the job is through when it reaches `steps`. */
  readonly stepIndex: number;
  /** Jobs of one stage whose keys are equal may share a step; `undefined` for none. */
  readonly batchKey?: string | undefined;
  /** What the next stage is given. Called once, after the last step; the job is disposed of afterwards. */
  result(): Out | Promise<Out>;
  /** The state after the steps done so far. Later steps may go on before it resolves, and must not change it. */
  checkpoint?(): Promise<Checkpoint>;
  /** Frees what the job holds, at any point of its life. Idempotent. */
  dispose(): void;
}

/**
 * One kind of work in a chain. A value that passes between stages and has `[Symbol.dispose]` is disposed of by the
 * scheduler when it never reaches the next stage.
 */
export interface Stage<In, Out, Job extends StageJob<Out> = StageJob<Out>> {
  readonly name: string;
  /**
   * `gpu`: steps run one after the other, in the order that the scheduler picks. `cpu`: every job runs as soon as
   * `capacity` allows.
   */
  readonly place: 'gpu' | 'cpu';
  /** Jobs that may exist at once. A request that finds no room waits where it is, which holds back those behind it. */
  readonly capacity: number;
  /** Most jobs with this key that may share a step. Default 1. */
  maxBatch?(key: string): number;
  /** Bytes of memory that a job will hold until it is disposed of, counted against the scheduler's budget. */
  bytes?(input: In): number;
  /** Makes a job. Must free `input` if it throws. */
  start(input: In, context: StageContext): Job | Promise<Job>;
  /**
   * Advances all of `jobs`, which share a batch key if they are several, by one step. Resolves once the work is
   * submitted; throws and leaves every job as it was. The signal aborts when nobody wants any of them any more.
   */
  step(jobs: readonly Job[], context: { signal: AbortSignal }): Promise<void>;
}

// The types of a chain's links are checked by `chain`; inside, a stage takes what the one before gives.
/** @internal */
export type AnyStage = Stage<unknown, unknown>;

/** Stages that a request passes through one after the other. */
export class Chain<In, Out> {
  readonly stages: readonly AnyStage[];

  /** Use `chain`. */
  constructor(stages: readonly AnyStage[]) {
    this.stages = stages;
  }

  /** This chain with one more stage at its end. */
  to<Next, Job extends StageJob<Next>>(stage: Stage<Out, Next, Job>): Chain<In, Next> {
    return new Chain<In, Next>([...this.stages, stage]);
  }
}

/** A chain of one stage; `to` adds others. */
export function chain<In, Out, Job extends StageJob<Out>>(stage: Stage<In, Out, Job>): Chain<In, Out> {
  return new Chain<In, Out>([stage]);
}

/** A stage whose jobs are one call each. */
export function callStage<In, Out>(
  description: Pick<Stage<In, Out>, 'name' | 'place' | 'capacity' | 'bytes'> & {
    run: (input: In, context: StageContext) => Promise<Out>;
  },
): Stage<In, Out, CallJob<In, Out>> {
  const { run, ...rest } = description;
  return {
    ...rest,
    start: (input, context) => new CallJob(input, context, run),
    step: async ([job]) => job!.run(),
  };
}

class CallJob<In, Out> implements StageJob<Out> {
  readonly steps = 1;
  stepIndex = 0;
  readonly #context: StageContext;
  readonly #call: (input: In, context: StageContext) => Promise<Out>;
  #input: In | undefined;
  #output: Out | undefined;

  constructor(input: In, context: StageContext, call: (input: In, context: StageContext) => Promise<Out>) {
    this.#input = input;
    this.#context = context;
    this.#call = call;
  }

  async run(): Promise<void> {
    this.#output = await this.#call(this.#input as In, this.#context);
    this.stepIndex = 1;
  }

  result(): Out {
    const output = this.#output as Out;
    this.#output = undefined;
    return output;
  }

  dispose(): void {
    disposeValue(this.#input);
    disposeValue(this.#output);
    this.#input = this.#output = undefined;
  }
}

/** @internal Disposes of what can be disposed of. */
export function disposeValue(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  (value as Partial<Disposable>)[Symbol.dispose]?.();
}
