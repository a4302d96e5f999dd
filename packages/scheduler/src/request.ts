import type { Ranked } from './policy.ts';
import type { AnyStage, Chain, Checkpoint, StageJob } from './stage.ts';

/** What a request reports on its way, in order of time. */
export type RequestEvent =
  /** It waits for its first stage; `position` 1 is next. Sent whenever that changes. */
  | { type: 'queued'; position: number; remainingMs: number | undefined }
  /** It begins a stage or has done a step of it. */
  | { type: 'step'; stage: string; step: number; steps: number; remainingMs: number | undefined }
  /** Something of the stage's own. */
  | { type: 'stage'; stage: string; event: unknown }
  /** Where it could go on if everything were lost now. */
  | { type: 'checkpoint'; checkpoint: Checkpoint }
  /** What it ran on was lost; it starts over, from its last checkpoint where it has one. */
  | { type: 'restarted'; reason: string };

export interface RequestOptions {
  /** Whose request it is: clients share the GPU fairly. */
  client?: string | undefined;
  /** What traces call it. Default: `request` and its number. */
  name?: string | undefined;
  /** Higher goes first. Default 0. */
  priority?: number | undefined;
  /** Milliseconds from now within which it should be done. Orders requests of one priority; none is dropped for it. */
  deadlineMs?: number | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: RequestEvent) => void) | undefined;
  /** A checkpoint that an earlier run of the same request sent. */
  resume?: Checkpoint | undefined;
  /** What to do when no more requests are admitted. Default `reject`, with a `QueueFullError`. */
  whenFull?: 'reject' | 'wait' | undefined;
}

/** A request in the scheduler. */
export interface RequestHandle<Out> {
  readonly id: number;
  /** What traces call it. */
  readonly name: string;
  /** Settles in any case: with the last stage's output, the signal's reason or the error that stopped it. */
  readonly result: Promise<Out>;
  /** Changes its place in the order. */
  readonly reorder: (changes: { priority?: number; deadlineMs?: number | undefined }) => void;
}

/**
 * - `waiting`: for room in the stage `stageIndex`; holds `value`, and its place in the stage before
 * - `starting`, `ready`, `running`, `finishing`: in that stage
 * - `ended`: settled; what it held goes as soon as nothing uses it any more
 */
export type EntryState = 'waiting' | 'starting' | 'ready' | 'running' | 'finishing' | 'ended';

/** @internal A request as the scheduler sees it. */
export interface Entry extends Ranked {
  readonly id: number;
  /** Its track in traces. */
  readonly name: string;
  readonly chain: Chain<unknown, unknown>;
  /** Description of the request, from which it can start over. */
  readonly input: unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onEvent: ((event: RequestEvent) => void) | undefined;
  readonly submitted: number;
  /** Aborts what stages do for it. */
  controller: AbortController;
  /** Stops listening to the caller's signal. */
  unlisten: () => void;
  state: EntryState;
  stageIndex: number;
  /** What the stage `stageIndex` will be given. */
  value: unknown;
  job: StageJob<unknown> | undefined;
  /** Whether it has left the queue. */
  active: boolean;
  /** Stage in whose capacity it counts. */
  room: AnyStage | undefined;
  heldBytes: number;
  /** Ran out of memory; waits until another request gives some back. */
  needsMemory: boolean;
  /** Was in a step that failed: runs alone, so that the error finds its request. */
  alone: boolean;
  /** Counts restarts: what was begun before one is ignored. */
  life: number;
  /** Restarts since the last checkpoint. */
  restarts: number;
  checkpoint: Checkpoint | undefined;
  checkpointed: number;
  position: number;
  /** When the current stage was entered or waited for, for the trace. */
  since: number;
}

/** @internal The stage a request is in, or waits for. */
export function stageOf(entry: Entry): AnyStage {
  return entry.chain.stages[entry.stageIndex]!;
}

/** @internal Also where the compiler believes to know the state: it changes while others run. */
export function hasEnded(entry: Entry): boolean {
  return entry.state === 'ended';
}

/** @internal A request that has just been admitted. */
export function newEntry(
  given: Pick<
    Entry,
    | 'id'
    | 'name'
    | 'chain'
    | 'input'
    | 'priority'
    | 'deadline'
    | 'client'
    | 'resolve'
    | 'reject'
    | 'onEvent'
    | 'checkpoint'
    | 'unlisten'
  >,
): Entry {
  const now = performance.now();
  return {
    ...given,
    arrival: given.id,
    submitted: now,
    overtakenMs: 0,
    controller: new AbortController(),
    state: 'waiting',
    stageIndex: 0,
    value: given.input,
    job: undefined,
    active: false,
    room: undefined,
    heldBytes: 0,
    needsMemory: false,
    alone: false,
    life: 0,
    restarts: 0,
    checkpointed: now,
    position: 0,
    since: now,
  };
}

/** @internal A deadline on this thread's clock. */
export function deadlineOf(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : performance.now() + ms;
}
