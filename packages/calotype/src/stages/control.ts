import type { Engine, Session, Tensor } from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import { RowGraph } from './row-calls.ts';

/** A ControlNet's part in one job. */
export interface JobControl {
  net: ControlNet;
  /** Control image, [1 or images, channels, height, width], on the GPU. */
  image: Tensor<'float32'>;
  /** What the residuals are multiplied by. */
  scale: number;
  /** Shares of the steps, 0 to 1, between which the net takes part. */
  start: number;
  end: number;
}

/** What the residuals are multiplied by at a step: 0 where the net takes no part. */
export function controlScale(control: JobControl | undefined, step: number, steps: number): number {
  if (!control) return 0;
  const isOff = step / steps < control.start || (step + 1) / steps > control.end;
  return isOff ? 0 : control.scale;
}

let serial = 0;

/**
 * A ControlNet (Zhang et al., arXiv 2302.05543): from the latents, the prompt and an image that shows the composition
 * (edges, depth, a pose) it computes residuals that a UNet adds to its own.
 */
export class ControlNet {
  readonly id: number = serial++;
  readonly graph: RowGraph;
  /** The graph's outputs: those of the blocks from the first on, then that of the middle. */
  readonly residuals: readonly string[];

  /** @throws ModelFolderError for a graph that is no ControlNet */
  constructor(engine: Engine, session: Session, path: string) {
    this.graph = new RowGraph(engine, session, 'sample');
    this.residuals = residualNames(session.outputs.map(({ name }) => name));
    if (!this.graph.takes('controlnet_cond') || this.residuals.length === 0) {
      throw new ModelFolderError(
        path,
        "is no ControlNet: it lacks the input 'controlnet_cond', or outputs named down_block_res… and mid_block_res….",
      );
    }
  }

  /** Size that control images are brought to: the picture's, unless the graph fixes another. */
  imageSize(picture: { width: number; height: number }): { width: number; height: number } {
    const [, , height, width] = this.graph.shapeOf('controlnet_cond') ?? [];
    return {
      width: typeof width === 'number' ? width : picture.width,
      height: typeof height === 'number' ? height : picture.height,
    };
  }
}

/**
 * Names of residuals among a graph's inputs or outputs, in the order in which a UNet takes them: exporters call them
 * `down_block_res_0`, `down_block_additional_residuals.0`, `down_block_0_additional_residual`, …, `mid_block_…`.
 */
export function residualNames(names: readonly string[]): string[] {
  const down = names.filter((name) => /^down_?block.*\d/.test(name));
  const middle = names.filter((name) => /^mid_?block/.test(name));
  const order = (name: string): number => Number(/\d+/.exec(name)![0]);
  return [...down.toSorted((a, b) => order(a) - order(b)), ...middle];
}
