import type { FilledWeight } from '@calotype/dev/hashed-weights';
import {
  bytesOf,
  toFloat16,
  writeModel,
  type Attribute,
  type Model,
  type TensorRef,
} from '@calotype/core/tools';

/** OpenCLIP ViT-H as Stable Diffusion 2 and SD-Turbo have it: all but the last of its 24 layers. */
const WIDTH = 1024;
const LAYERS = 23;
const HEADS = 16;
const TOKENS = 77;
const VOCABULARY = 49_408;

/** The text encoder of SD-Turbo in float16, operator by operator as transformers exports it; weights left out. */
export function openClip(): { bytes: Uint8Array<ArrayBuffer>; weights: FilledWeight[] } {
  const g = new Writer();
  const linear = (x: string, name: string, inputs: number, outputs: number): string => {
    const product = g.node('MatMul', [
      x,
      g.weight(`${name}.weight`, [inputs, outputs], 0.5 / Math.sqrt(inputs)),
    ]);
    return g.node('Add', [product, g.weight(`${name}.bias`, [outputs], 0.02)]);
  };
  const norm = (x: string, name: string): string =>
    g.node('LayerNormalization', [x, g.ones(`${name}.weight`), g.weight(`${name}.bias`, [WIDTH], 0.02)], {
      axis: { type: 'int', value: -1 },
      epsilon: { type: 'float', value: 1e-5 },
    });
  const split = g.integers('split', [0, 0, HEADS, WIDTH / HEADS]);
  const merged = g.integers('merged', [0, 0, WIDTH]);
  const mask = g.mask();
  const scale = g.constant('scale', [], [1 / Math.sqrt(WIDTH / HEADS)]);
  const heads = (x: string, perm: number[]): string =>
    g.node('Transpose', [g.node('Reshape', [x, split])], { perm: { type: 'ints', value: perm } });

  const tokens = g.node('Gather', [g.weight('token_embedding', [VOCABULARY, WIDTH], 0.02), 'input_ids']);
  let x = g.node('Add', [tokens, g.weight('position_embedding', [1, TOKENS, WIDTH], 0.02)]);
  for (let layer = 0; layer < LAYERS; layer++) {
    const name = `layers.${layer}`;
    const normed = norm(x, `${name}.layer_norm1`);
    const of = (part: string): string => linear(normed, `${name}.self_attn.${part}_proj`, WIDTH, WIDTH);
    const query = heads(g.node('Mul', [of('q'), scale]), [0, 2, 1, 3]);
    const scores = g.node('Add', [g.node('MatMul', [query, heads(of('k'), [0, 2, 3, 1])]), mask]);
    const shares = g.node('Softmax', [scores], { axis: { type: 'int', value: -1 } });
    const values = g.node('MatMul', [shares, heads(of('v'), [0, 2, 1, 3])]);
    const perm: Attribute = { type: 'ints', value: [0, 2, 1, 3] };
    const joined = g.node('Reshape', [g.node('Transpose', [values], { perm }), merged]);
    x = g.node('Add', [x, linear(joined, `${name}.self_attn.out_proj`, WIDTH, WIDTH)]);
    const inner = linear(norm(x, `${name}.layer_norm2`), `${name}.mlp.fc1`, WIDTH, 4 * WIDTH);
    x = g.node('Add', [x, linear(g.node('Gelu', [inner]), `${name}.mlp.fc2`, 4 * WIDTH, WIDTH)]);
  }
  return g.finish(norm(x, 'final_layer_norm'));
}

class Writer {
  readonly #weights: FilledWeight[] = [];
  readonly #model: Model = {
    irVersion: 9,
    producer: 'calotype bench',
    opsets: new Map([['', 20]]),
    functions: [],
    files: [],
    graph: {
      name: 'text_encoder',
      nodes: [],
      inputs: [{ name: 'input_ids', dtype: 'int64', shape: ['batch', TOKENS] }],
      outputs: [{ name: 'last_hidden_state', dtype: 'float16', shape: ['batch', TOKENS, WIDTH] }],
      initializers: new Map(),
      values: new Map(),
    },
  };
  /** Bytes of the file of weights so far. */
  #end = 0;

  node(op: string, inputs: string[], attributes: Record<string, Attribute> = {}): string {
    const { nodes } = this.#model.graph;
    const name = `${op}_${nodes.length}`;
    const rest = { domain: '', overload: '', attributes: new Map(Object.entries(attributes)) };
    nodes.push({ name, op, inputs, outputs: [`${name}:0`], ...rest });
    return `${name}:0`;
  }

  /** A tensor of the file that is not there. */
  weight(name: string, dims: number[], std: number, mean = 0): string {
    const length = dims.reduce((product, size) => product * size, bytesOf('float16', 1));
    const data: TensorRef['data'] = {
      kind: 'missing',
      location: 'model.onnx_data',
      offset: this.#end,
      length,
    };
    this.#end += length;
    this.#weights.push({ name, dtype: 'float16', mean, std });
    return this.#add({ name, dtype: 'float16', dims, data });
  }

  ones(name: string): string {
    return this.weight(name, [WIDTH], 0, 1);
  }

  constant(name: string, dims: number[], values: number[]): string {
    const bytes = new Uint8Array(Uint16Array.from(values, toFloat16).buffer);
    return this.#add({ name, dtype: 'float16', dims, data: { kind: 'inline', bytes } });
  }

  integers(name: string, values: number[]): string {
    const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#add({ name, dtype: 'int64', dims: [values.length], data: { kind: 'inline', bytes } });
  }

  /** What keeps tokens from seeing later ones. */
  mask(): string {
    const values = Array.from({ length: TOKENS ** 2 }, (_, i) => (i % TOKENS > i / TOKENS ? -65_504 : 0));
    return this.constant('mask', [1, 1, TOKENS, TOKENS], values);
  }

  finish(output: string): { bytes: Uint8Array<ArrayBuffer>; weights: FilledWeight[] } {
    this.#model.graph.nodes.find(({ outputs }) => outputs.includes(output))!.outputs = ['last_hidden_state'];
    const { bytes } = writeModel(this.#model, { keepPlaces: true });
    return { bytes, weights: this.#weights };
  }

  #add(ref: TensorRef): string {
    this.#model.graph.initializers.set(ref.name, ref);
    return ref.name;
  }
}
