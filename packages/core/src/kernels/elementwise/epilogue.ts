import type { Expr } from '../../graph/expr.ts';
import type { TensorView } from '../../plan/plan.ts';
import { scalarOf, type Param } from '../shader.ts';
import { SPECIAL_FLOATS } from './elementwise.ts';
import { operandReaders } from './operands.ts';
import { exprToWgsl } from './wgsl-expr.ts';

/** What a kernel mixes into its shader to finish its results in registers before they are stored. */
export interface EpilogueCode {
  /** Bindings to add to the shader's inputs. */
  inputs: Record<string, TensorView>;
  params: Record<string, Param>;
  /**
   * Defines `fn epilogue(v: vec4f, i: u32) -> vec4f`: `v` holds four neighbouring results, `i` is the element index of
   * the first in the output's memory order, a multiple of 4.
   */
  functions: string;
}

/** An epilogue as operands in a plan: `expr` reads the operator's result as input 0 and `operands[k]` as input k + 1. */
export interface EpilogueViews {
  expr: Expr;
  operands: readonly TensorView[];
}

/** Code for `epilogue`, or for the identity where there is none. */
export function epilogueCode(epilogue: EpilogueViews | undefined, output: TensorView): EpilogueCode {
  if (!epilogue)
    return { inputs: {}, params: {}, functions: 'fn epilogue(v: vec4f, i: u32) -> vec4f { return v; }' };
  const inputs = Object.fromEntries(epilogue.operands.map((view, k) => [`ep${k}`, view]));
  const readers = operandReaders(output, inputs, 'ep_');
  const code = exprToWgsl(epilogue.expr, (index) =>
    index === 0
      ? { text: 'v', type: 'f32' }
      : { text: `ep${index - 1}_at(i)`, type: scalarOf(epilogue.operands[index - 1]!.storage) },
  );
  return {
    inputs,
    params: readers.params,
    functions: [
      SPECIAL_FLOATS,
      readers.functions,
      code.helpers,
      `fn epilogue(v: vec4f, i: u32) -> vec4f { return ${code.text}; }`,
    ].join('\n'),
  };
}
