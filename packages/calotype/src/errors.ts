import { CalotypeError } from '@calotype/core';

/** A sampler that cannot do what its configuration or the caller asks for. */
export class SamplerError extends CalotypeError {
  override name = 'SamplerError';
  /** Sampler it concerns, by its friendly name. */
  readonly sampler: string;
  /** Configuration field or option at fault. */
  readonly field: string;

  constructor(sampler: string, field: string, message: string) {
    super(`Sampler '${sampler}', ${field}: ${message}`);
    this.sampler = sampler;
    this.field = field;
  }
}

/** A tokenizer's files that are missing, malformed or of a kind that is not supported. */
export class TokenizerError extends CalotypeError {
  override name = 'TokenizerError';
  /** File the trouble is in. */
  readonly file: string;

  constructor(file: string, message: string, cause?: unknown) {
    super(`${file}: ${message}`, { cause });
    this.file = file;
  }
}

/** A model folder that lacks a file, or holds one that cannot be understood. */
export class ModelFolderError extends CalotypeError {
  override name = 'ModelFolderError';
  /** File it concerns, relative to the folder. */
  readonly file: string;

  constructor(file: string, message: string, cause?: unknown) {
    super(`${file} ${message}`, { cause });
    this.file = file;
  }
}

/** An option of a generation that this model cannot serve. */
export class OptionError extends CalotypeError {
  override name = 'OptionError';
  readonly option: string;

  constructor(option: string, message: string, cause?: unknown) {
    super(`${option}: ${message}`, { cause });
    this.option = option;
  }
}

/** A LoRA file that is none, of a method that is not supported, or made for another model. */
export class LoraError extends CalotypeError {
  override name = 'LoraError';
  /** File it concerns, or the name that the LoRA was given. */
  readonly file: string;
  /** Modules of the file that the model lacks or has in other sizes. */
  readonly unmatched: readonly string[];

  constructor(
    file: string,
    message: string,
    details: { unmatched?: readonly string[]; cause?: unknown } = {},
  ) {
    super(`LoRA ${file} ${message}`, { cause: details.cause });
    this.file = file;
    this.unmatched = details.unmatched ?? [];
  }
}
