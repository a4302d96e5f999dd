import type { InputShapes, Session } from '@calotype/core';
import type { DiffusionModel } from '../model/model.ts';
import type { PromptOptions } from '../pipelines/options.ts';
import { residualNames } from '../stages/control.ts';

/** What a plan is made for. */
export interface PlannedRequest {
  /** Whether a picture is encoded first. */
  startsFromImage: boolean;
  /** Rows of a denoising step: with guidance two for each image. */
  rows: number;
  width: number;
  height: number;
  options: PromptOptions;
}

/** One graph with the shapes of its inputs. */
export interface PlannedGraph {
  component: string;
  session: Session;
  inputs: InputShapes;
}

/**
 * Every graph of a model with the shapes that a request gives its inputs, in the order in which a pipeline first uses
 * them. Those of a denoiser that takes a ControlNet's residuals depend on that net, whose plan tells them.
 */
export async function plannedGraphs(model: DiffusionModel, request: PlannedRequest): Promise<PlannedGraph[]> {
  const { width, height } = request;
  const { latentChannels, scaleFactor } = model.facts;
  const latents = [1, latentChannels, height / scaleFactor, width / scaleFactor];
  const graphs: PlannedGraph[] = [];
  for (const [component, { session, tokenizer }] of model.encoders) {
    const tokens = [Math.min(request.rows, 2), tokenizer.maxLength];
    graphs.push({ component, session, inputs: bind(session, () => tokens) });
  }
  const image = [1, 3, height, width];
  if (request.startsFromImage && model.encoder) {
    const { session } = model.encoder;
    graphs.push({ component: 'vae_encoder', session, inputs: bind(session, () => image) });
  }
  const shapes = denoiserShapes(model, request, latents);
  let residuals: ReadonlyMap<string, readonly number[]> = new Map();
  if (model.controlnet) {
    const { session } = model.controlnet.graph;
    const inputs = bind(session, (name) => (name === 'controlnet_cond' ? image : shapes(name)));
    graphs.push({ component: 'controlnet', session, inputs });
    residuals = await residualShapes(model, session, inputs);
  }
  const { session } = model.denoising;
  graphs.push({
    component: model.denoiserComponent,
    session,
    inputs: bind(session, (name) => residuals.get(name) ?? shapes(name)),
  });
  graphs.push({
    component: 'vae_decoder',
    session: model.decoder.session,
    inputs: bind(model.decoder.session, () => latents),
  });
  return graphs;
}

/** Shapes of a graph's inputs: what it declares as numbers, and the rest from `wanted`. */
function bind(session: Session, wanted: (name: string) => readonly number[]): Record<string, number[]> {
  return Object.fromEntries(
    session.inputs.map(({ name, shape }) => {
      const sizes = wanted(name);
      const rank = shape?.length ?? sizes.length;
      const dims = Array.from({ length: rank }, (_, i) => {
        const declared = shape?.[i];
        return typeof declared === 'number' ? declared : (sizes[i + Math.max(0, sizes.length - rank)] ?? 1);
      });
      return [name, dims];
    }),
  );
}

function denoiserShapes(
  model: DiffusionModel,
  { rows, options }: PlannedRequest,
  [, channels, height, width]: readonly number[],
): (name: string) => readonly number[] {
  const { facts, family, denoising } = model;
  const { patch, sample } = family.layout;
  const tokens = (height! / patch) * (width! / patch);
  const text = family.tokens(model, options);
  const axes = family.layout.patch > 1 && !denoising.graph.takes('pooled_projections') ? 4 : 3;
  const attended = Number(facts.denoiser['joint_attention_dim'] ?? facts.denoiser['cross_attention_dim']);
  const shapes: Readonly<Record<string, readonly number[]>> = {
    [sample]: patch > 1 ? [rows, tokens, channels! * patch ** 2] : [rows, channels!, height!, width!],
    timestep: [denoising.graph.timestepPerRow ? rows : 1],
    encoder_hidden_states: [rows, text, Number.isNaN(attended) ? 768 : attended],
    img_ids: [rows, tokens, axes],
    txt_ids: [rows, text, axes],
    time_ids: [rows, 6],
    guidance: [rows],
  };
  // What remains is one vector a row, whose length graphs declare or their configs tell.
  const lengths: Readonly<Record<string, unknown>> = {
    text_embeds: facts.denoiser['projection_class_embeddings_input_dim'],
    pooled_projections: facts.denoiser['pooled_projection_dim'],
    timestep_cond: facts.denoiser['time_cond_proj_dim'],
  };
  return (name) => shapes[name] ?? [rows, Number(lengths[name] ?? 1)];
}

/** Shapes of a denoiser's inputs for residuals, from the outputs of the net that computes them. */
async function residualShapes(
  { denoising, controlnet }: DiffusionModel,
  session: Session,
  inputs: InputShapes,
): Promise<Map<string, readonly number[]>> {
  const { outputs } = await session.plan(inputs);
  const names = residualNames(denoising.session.inputs.map(({ name }) => name));
  return new Map(
    names.flatMap((name, i) => {
      const view = outputs.get(controlnet!.residuals[i] ?? '');
      return view ? [[name, view.shape] as const] : [];
    }),
  );
}
