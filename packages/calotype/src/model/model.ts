import {
  createSession,
  DisposedError,
  Engine,
  type FinishOptions,
  type Session,
  type SessionOptions,
  type StoreReport,
  type WeightFormat,
} from '@calotype/core';
import { ModelFolderError } from '../errors.ts';
import { withSkippedLayers } from '../families/clip-layers.ts';
import { familyOf, type Family } from '../families/index.ts';
import { LoraSet, type LoraComponent } from '../lora/index.ts';
import type { EncodeContext } from '../families/family.ts';
import type { LoadOptions, WeightsOption } from '../pipelines/options.ts';
import { ControlNet } from '../stages/control.ts';
import { LatentDecoder } from '../stages/decode-latents.ts';
import { Denoiser } from '../stages/denoise.ts';
import { LatentEncoder } from '../stages/encode-image.ts';
import { StageKernels } from '../stages/kernels.ts';
import { coloursOf, Previewer } from '../stages/preview.ts';
import type { TextEncoder } from '../stages/text-encoder.ts';
import { loadTokenizer } from '../tokenizer/index.ts';
import { findDecoder, type FoundDecoder } from './decoder.ts';
import { numberOf, readFacts, type ModelFacts } from './facts.ts';
import { ModelFolder, openStore, type ModelSource, type OpenedStore } from './folder.ts';
import { formatOf } from './weights.ts';

/** Inputs of denoisers that stay the same over a run: what depends on them alone is computed once. */
const stableInputs = [
  'encoder_hidden_states',
  'text_embeds',
  'time_ids',
  'timestep_cond',
  'pooled_projections',
  'guidance',
  'img_ids',
  'txt_ids',
  'controlnet_cond',
];

/**
 * A loaded model: its graphs on an engine, tokenizers, and what its configs say. Pipelines run on one; several may share
 * it (`ImageToImagePipeline.from(pipeline)`). It is freed when the last of them is disposed of.
 */
export class DiffusionModel implements EncodeContext {
  readonly engine: Engine;
  readonly kernels: StageKernels;
  readonly family: Family;
  readonly facts: ModelFacts;
  readonly encoders: ReadonlyMap<string, TextEncoder>;
  readonly denoising: Denoiser;
  readonly decoder: LatentDecoder;
  /** A small decoder beside it, for previews and quick pictures; `undefined` where none was given. */
  readonly previewDecoder: LatentDecoder | undefined;
  /** For image-to-image and inpainting; `undefined` where the folder has no `vae_encoder`. */
  readonly encoder: LatentEncoder | undefined;
  readonly controlnet: ControlNet | undefined;
  /** The denoiser's folder. */
  readonly denoiserComponent: 'unet' | 'transformer';
  /** LoRAs on the denoiser and the text encoders. Pipelines that share the model share them. */
  readonly loras: LoraSet;
  /** Latents as small pictures, for next to nothing. */
  readonly previewer: Previewer;
  readonly #ownsEngine: boolean;
  readonly #graphs: GraphLoader;
  readonly #weights: WeightsOption | undefined;
  #users = 1;

  private constructor(
    parts: Pick<
      DiffusionModel,
      | 'engine'
      | 'kernels'
      | 'family'
      | 'facts'
      | 'encoders'
      | 'denoising'
      | 'decoder'
      | 'previewDecoder'
      | 'encoder'
      | 'controlnet'
      | 'denoiserComponent'
    >,
    graphs: GraphLoader,
    options: LoadOptions,
  ) {
    this.engine = parts.engine;
    this.kernels = parts.kernels;
    this.family = parts.family;
    this.facts = parts.facts;
    this.encoders = parts.encoders;
    this.denoising = parts.denoising;
    this.decoder = parts.decoder;
    this.previewDecoder = parts.previewDecoder;
    this.encoder = parts.encoder;
    this.controlnet = parts.controlnet;
    const encoders = [...parts.encoders].map(([component, { session }]) => [component, session] as const);
    this.loras = new LoraSet(
      new Map([['denoiser', parts.denoising.session], ...(encoders as [LoraComponent, Session][])]),
    );
    const colours = parts.facts.latentColours ?? coloursOf(parts.family.name);
    this.previewer = new Previewer(parts.engine, parts.kernels, parts.decoder, colours);
    this.denoiserComponent = parts.denoiserComponent;
    this.#graphs = graphs;
    this.#weights = options.weights;
    this.#ownsEngine = options.engine === undefined;
  }

  /**
   * Opens a model folder: reads graphs, configs and tokenizers. Weights are uploaded when they are first used.
   *
   * @throws ModelFolderError for a folder that lacks something, and everything that reading, fetching and the device
   *   may throw; nothing stays behind then
   */
  static async load(source: ModelSource, options: LoadOptions = {}): Promise<DiffusionModel> {
    const { signal, precision, memoryBudget } = options;
    const loader = new GraphLoader(options);
    let engine: Engine | undefined;
    let kernels: StageKernels | undefined;
    try {
      const folder = await ModelFolder.open(await loader.store(source), signal);
      engine =
        options.engine ??
        (await Engine.create({
          ...(precision && { precision }),
          ...(memoryBudget !== undefined && { memoryBudget }),
        }));
      loader.engine = engine;
      kernels = new StageKernels(engine);
      const graph = (component: string): Promise<Session> => loader.component(folder, component);
      const encoders = new Map<string, TextEncoder>();
      for (const suffix of ['', '_2', '_3']) {
        const component = `text_encoder${suffix}`;
        if (!(await folder.hasGraph(component))) continue;
        // SDXL and SD3 take hidden states as they are, which their exports give.
        const isOnly = suffix === '' && !(await folder.hasGraph('text_encoder_2'));
        const session = await loader.component(folder, component, isOnly ? withSkippedLayers : undefined);
        const limit = await maxTokens(folder, component, session, signal);
        const tokenizer = await loadTokenizer(folder, `tokenizer${suffix}`, limit, signal);
        encoders.set(component, { component, session, tokenizer });
      }
      const denoiserComponent = (await folder.hasGraph('transformer')) ? 'transformer' : 'unet';
      const denoiser = await graph(denoiserComponent);
      const replaced =
        options.decoder === undefined ? undefined : await findDecoder(options.decoder, loader, signal);
      const decoder = replaced ? await loader.decoder(replaced, 'vae_decoder') : await graph('vae_decoder');
      const preview =
        options.previewDecoder === undefined
          ? undefined
          : await findDecoder(options.previewDecoder, loader, signal);
      const previewSession = preview && (await loader.decoder(preview, 'preview_decoder'));
      const encoder = (await folder.hasGraph('vae_encoder')) ? await graph('vae_encoder') : undefined;
      const family = await familyOf(denoiser, `${denoiserComponent}/model.onnx`);
      const facts = await readFacts(folder, family, { denoiser, denoiserComponent, decoder }, signal);
      const controlnet = await loader.controlnet(folder);
      return new DiffusionModel(
        {
          engine,
          kernels,
          family,
          facts,
          encoders,
          denoising: new Denoiser(engine, denoiser, family.layout, kernels),
          decoder: new LatentDecoder(
            engine,
            decoder,
            replaced ? replaced.facts(facts.decoder) : facts.decoder,
            kernels,
          ),
          previewDecoder:
            preview &&
            previewSession &&
            new LatentDecoder(engine, previewSession, preview.facts(facts.decoder), kernels),
          encoder: encoder && new LatentEncoder(engine, encoder, facts, kernels),
          controlnet,
          denoiserComponent,
        },
        loader,
        options,
      );
    } catch (error) {
      loader.dispose();
      kernels?.dispose();
      if (!options.engine) engine?.dispose();
      throw error;
    }
  }

  /** The denoiser's session: what a family reads the names and shapes of its inputs from. */
  get denoiser(): Session {
    return this.denoising.session;
  }

  /** What is made of a component's weights at load. */
  weightsOf(component: string): WeightFormat {
    return formatOf(this.#weights, component);
  }

  /** Bytes of these files that are in a cache. */
  cachedBytes(urls: readonly string[]): number {
    const stores = this.#graphs.reports().filter(({ cache }) => cache !== 'none');
    const files = stores.flatMap((report) => report.files).filter(({ url }) => urls.includes(url));
    return files.reduce((sum, { loadedBytes }) => sum + loadedBytes, 0);
  }

  /** How the model's files come; empty for those that are no URL's. */
  storeReports(): StoreReport[] {
    return this.#graphs.reports();
  }

  /** Brings the rest of what was begun into the cache, and checks it. See `ModelStore.finish`. */
  async finishFetching(options: FinishOptions = {}): Promise<void> {
    for (const store of this.#graphs.stores) await store.finish?.(options);
  }

  /** Adds a user, who disposes of the model when done. */
  share(): this {
    if (this.#users === 0) throw new DisposedError('The model');
    this.#users++;
    return this;
  }

  /** Takes a user off. With the last one the model's memory goes, and the engine if the model made it. */
  dispose(): void {
    if (this.#users === 0 || --this.#users > 0) return;
    this.denoising.dispose();
    this.decoder.dispose();
    this.previewDecoder?.dispose();
    this.previewer.dispose();
    this.encoder?.dispose();
    this.#graphs.dispose();
    this.kernels.dispose();
    if (this.#ownsEngine) this.engine.dispose();
  }
}

type Rewrite = NonNullable<SessionOptions['rewrite']>;

/** Opens stores and graphs and remembers them. */
class GraphLoader {
  readonly sessions: Session[] = [];
  readonly stores: OpenedStore[] = [];
  engine: Engine | undefined;
  readonly #options: LoadOptions;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** The files of a source: those of a URL through the cache. */
  async store(source: ModelSource): Promise<OpenedStore> {
    const { cache, fetching, onFetch } = this.#options;
    const store = await openStore(source, {
      ...fetching,
      ...(cache !== undefined && { cache }),
      ...(onFetch && { onProgress: onFetch }),
    });
    this.stores.push(store);
    return store;
  }

  reports(): StoreReport[] {
    return this.stores.flatMap((store) => store.report?.() ?? []);
  }

  dispose(): void {
    for (const session of this.sessions) session.dispose();
    for (const store of this.stores) store.dispose?.();
  }

  async component(folder: ModelFolder, component: string, rewrite?: Rewrite): Promise<Session> {
    return this.#open(folder.store, await folder.graph(component), component, rewrite);
  }

  /** The folder's own, or that of the caller's. */
  async controlnet(folder: ModelFolder): Promise<ControlNet | undefined> {
    const own = await folder.hasGraph('controlnet');
    const { controlnet: source } = this.#options;
    if (!source) {
      if (!own) return undefined;
      return new ControlNet(
        this.engine!,
        await this.component(folder, 'controlnet'),
        'controlnet/model.onnx',
      );
    }
    const store = await this.store(source);
    const path = (await store.has('model.onnx')) ? 'model.onnx' : 'controlnet/model.onnx';
    if (!(await store.has(path))) {
      throw new ModelFolderError('model.onnx', "is missing from the folder given as 'controlnet'.");
    }
    return new ControlNet(this.engine!, await this.#open(store, path, 'controlnet'), path);
  }

  decoder({ store, path }: FoundDecoder, component: string): Promise<Session> {
    return this.#open(store, path, component);
  }

  async #open(
    store: ModelFolder['store'],
    path: string,
    component: string,
    rewrite?: Rewrite,
  ): Promise<Session> {
    const { precision, weights, signal, onProgress } = this.#options;
    const session = await createSession(
      { store, path },
      {
        engine: this.engine!,
        stableInputs,
        weights: formatOf(weights, component),
        ...(rewrite ? { rewrite } : {}),
        ...(precision ? { precision } : {}),
        ...(signal ? { signal } : {}),
        onProgress: ({ stage, done, total }) => onProgress?.({ component, stage, done, total }),
      },
    );
    this.sessions.push(session);
    return session;
  }
}

async function maxTokens(
  folder: ModelFolder,
  component: string,
  encoder: Session,
  signal: AbortSignal | undefined,
): Promise<number> {
  const declared = encoder.inputs.find(({ name }) => name === 'input_ids')?.shape?.[1];
  if (typeof declared === 'number') return declared;
  const config = await folder.json(`${component}/config.json`, signal);
  return numberOf(config?.['max_position_embeddings']) ?? 77;
}
