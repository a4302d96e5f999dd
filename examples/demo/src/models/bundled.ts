/**
 * What a model folder may say of itself in a `calotype.json`, beside its `model_index.json`. Everything is optional;
 * what is not said is guessed from the model's own configs.
 */
export interface ModelManifest {
  name?: string;
  /** One sentence, shown where the model is named. */
  description?: string;
  /** Set where the weights were never trained, so that the page can say so. */
  randomWeights?: boolean;
  defaults?: {
    steps?: number;
    guidanceScale?: number;
    width?: number;
    height?: number;
  };
  /** Prompts worth trying. */
  examples?: string[];
  /** What it can be asked for, by kind: `{ "colours": ["red", "blue"] }`. */
  suggestions?: Record<string, string[]>;
  /** Prompts to be filled in from the suggestions: `a {colours} {animals}`. */
  templates?: string[];
  /** All words that it was taught, the most common first. Others are marked as unknown. */
  vocabulary?: string[];
}

/** The model that the build put beside the page. */
export interface BundledModel {
  /** Folder, relative to the page; another one for every version of the model. */
  path: string;
  bytes: number;
  /** Said on its behalf where its own folder is silent. */
  manifest: ModelManifest;
}

/** The bundled model's card and licences, for the About dialog. */
export interface ModelCard {
  /** Missing where the model has no card. */
  html?: string;
  licences: { name: string; html?: string; text?: string }[];
}
