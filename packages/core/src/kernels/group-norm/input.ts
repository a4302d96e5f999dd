import type { Pair } from '../../plan/joins.ts';
import type { TensorView } from '../../plan/plan.ts';
import { u32, type Param } from '../shader.ts';

/** What is normalized, dense and channels-last. */
export interface GroupNormInput {
  x: TensorView;
  /** Two tensors, so too, that make up the channels of `x` and are read in its place. */
  pair?: Pair | undefined;
}

/**
 * Bindings of the input, and WGSL `x_place(channel: u32) -> Place`: the channel in its own tensor, and how many lie there
 * beside each other. A thread stays with four channels, so it finds their place once.
 */
export function inputCode({ x, pair }: GroupNormInput): {
  inputs: Record<string, TensorView>;
  params: Record<string, Param>;
  functions: string;
} {
  const head = 'struct Place { channel: u32, width: u32, in_second: bool }\n';
  if (!pair) {
    return {
      inputs: { x },
      params: {},
      functions: `${head}fn x_place(channel: u32) -> Place { return Place(channel, params.channels, false); }`,
    };
  }
  const [first, second] = pair.tensors;
  return {
    inputs: { x: first, x_second: second },
    params: { x_first: u32(pair.widths[0]) },
    functions: `${head}fn x_place(channel: u32) -> Place {
  if (channel < params.x_first) { return Place(channel, params.x_first, false); }
  return Place(channel - params.x_first, params.channels - params.x_first, true);
}`,
  };
}

/** A WGSL function that reads the input. */
interface InputFunction {
  name: string;
  /** Types by name. */
  parameters: Readonly<Record<string, string>>;
  returns?: string;
  /** Statements that read `tensor` through `TENSOR_load4`. */
  body: (tensor: string) => string;
}

/**
 * `fn NAME(place: Place, …)`: the function for the tensor that a place is in. Whole loops lie behind that branch, so that
 * their reads stay together.
 */
export function ofInput(
  { pair }: GroupNormInput,
  { name, parameters, returns, body }: InputFunction,
): string {
  const typed = Object.entries(parameters).map(([parameter, type]) => `${parameter}: ${type}`);
  const result = returns === undefined ? '' : ` -> ${returns}`;
  const define = (tensor: string): string =>
    `fn ${name}_${tensor}(${typed.join(', ')})${result} {\n  ${body(tensor)}\n}`;
  const call = (tensor: string): string =>
    `${returns === undefined ? '' : 'return '}${name}_${tensor}(${Object.keys(parameters).join(', ')});`;
  return [
    ...(pair ? ['x', 'x_second'] : ['x']).map(define),
    `fn ${name}(${['place: Place', ...typed].join(', ')})${result} {
  ${pair ? `if (place.in_second) { ${call('x_second')} } else { ${call('x')} }` : call('x')}
}`,
  ].join('\n');
}
