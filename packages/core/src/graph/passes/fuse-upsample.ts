import { stringAttribute } from '../../ops/operands.ts';
import type { Node } from '../graph.ts';
import { producerOf } from '../match.ts';
import type { Pass } from './pass.ts';

/** Nearest-neighbour doubling before a convolution is done while the convolution reads: attribute `upsample` 2. */
export const fuseUpsample: Pass = {
  name: 'fuse-upsample',
  run(graph) {
    for (const node of graph.nodes()) {
      if (node.domain !== '' || node.op !== 'Conv' || node.inputs[0]!.shape.length !== 4) continue;
      const resize = producerOf(graph, node.inputs[0], 'Resize', 'Upsample');
      if (!resize || graph.soleUser(node.inputs[0]!) !== node || !doubles(resize)) continue;
      node.attributes = new Map([...node.attributes, ['upsample', { type: 'int', value: 2 }]]);
      graph.setInputs(node, [resize.inputs[0], ...node.inputs.slice(1)]);
    }
  },
};

/** Whether pixel i of the result is pixel floor(i / 2) of x in every spelling that says so. */
function doubles(resize: Node): boolean {
  const [x] = resize.inputs;
  const { shape } = resize.outputs[0]!;
  const twice = x!.shape.every((dim, axis) => shape[axis] === (axis < 2 ? dim : 2 * dim));
  if (!twice || stringAttribute(resize, 'mode', 'nearest') !== 'nearest') return false;
  if (resize.op === 'Upsample') return true;
  const coordinates = stringAttribute(resize, 'coordinate_transformation_mode', 'half_pixel');
  const rounding = stringAttribute(resize, 'nearest_mode', 'round_prefer_floor');
  // asymmetric: x / 2 is k or k + 1/2. half_pixel: (x + 1/2) / 2 - 1/2 is k - 1/4 or k + 1/4.
  if (coordinates === 'asymmetric') return rounding === 'floor' || rounding === 'round_prefer_floor';
  if (coordinates === 'half_pixel' || coordinates === 'pytorch_half_pixel') {
    return rounding === 'round_prefer_floor' || rounding === 'round_prefer_ceil';
  }
  return false;
}
