import { UnsupportedOpError } from '../errors.ts';
import type { Node } from '../graph/graph.ts';

/** Most elements of a list that is made on the CPU before anything runs, such as the places along an axis. */
export const longestList: number = 2 ** 18;

/** For a form of an operator that is otherwise known. `reason` completes "it …". */
export function unsupported({ op, domain, opset, name }: Node, reason: string): UnsupportedOpError {
  return new UnsupportedOpError([
    { op, domain, opset, node: name, reason: `it ${reason}, which is not implemented` },
  ]);
}
