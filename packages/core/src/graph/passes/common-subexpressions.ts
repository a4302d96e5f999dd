import type { Attribute } from '../../onnx/model.ts';
import type { Node, Value } from '../graph.ts';
import type { Pass } from './pass.ts';

/** Larger constants are not compared. */
const constantLimit = 64;
const random = new Set([
  'RandomNormal',
  'RandomUniform',
  'RandomNormalLike',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
  'Dropout',
]);

/** Computes once what is written twice: equal nodes on equal operands, equal small constants. */
export const commonSubexpressions: Pass = {
  name: 'common-subexpressions',
  run(graph) {
    const ids = new Map<Value, number>();
    const constants = new Map<string, number>();
    const idOf = (value: Value | undefined): number => {
      if (!value) return -1;
      const known = ids.get(value);
      if (known !== undefined) return known;
      let id = ids.size;
      const { origin } = value;
      if (origin.kind === 'constant' && origin.data.length <= constantLimit) {
        const key = `${value.dtype}|${value.shape.join()}|${origin.data.join()}`;
        id = constants.get(key) ?? id;
        constants.set(key, id);
      }
      ids.set(value, id);
      return id;
    };
    const seen = new Map<string, Node>();
    for (const node of graph.nodes()) {
      if (random.has(node.op) || node.epilogue || node.expr) continue;
      const attributes = [...node.attributes].sort(([a], [b]) => (a < b ? -1 : 1)).map(attributeKey);
      if (attributes.includes(undefined)) continue;
      const key = [
        node.domain,
        node.op,
        node.opset,
        node.outputs.length,
        node.inputs.map(idOf).join(),
        ...attributes,
      ].join('|');
      const first = seen.get(key);
      if (!first) seen.set(key, node);
      else node.outputs.forEach((value, i) => graph.replace(value, first.outputs[i]!));
    }
  },
};

/** Text equal for equal attributes; `undefined` for those that are not compared. */
function attributeKey([name, attribute]: [string, Attribute]): string | undefined {
  switch (attribute.type) {
    case 'int':
    case 'float':
    case 'string':
      return `${name}=${attribute.value}`;
    case 'ints':
    case 'floats':
    case 'strings':
      return `${name}=[${attribute.value.join()}]`;
    default:
      return undefined;
  }
}
