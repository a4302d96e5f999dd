import { lookup } from '../../ops/registry.ts';
import { scalarTypeOf } from '../../ops/scalar-types.ts';
import { broadcastShapes, equalShapes } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { constant, type Expr, input, substitute } from '../expr.ts';
import { type Node, OWN_DOMAIN, type Value } from '../graph.ts';
import { scalarOf } from '../match.ts';
import { simplify } from '../simplify.ts';
import type { Pass } from './pass.ts';

/** Turns every elementwise operator into `Elementwise` with its expression. Single numbers become part of it. */
export const toElementwise: Pass = {
  name: 'to-elementwise',
  run(graph) {
    for (const node of graph.nodes()) {
      if (node.domain === OWN_DOMAIN && node.op === 'Elementwise') continue;
      const expr = lookup(node.domain, node.op)?.elementwise?.(node);
      if (expr && node.outputs.length === 1) convert(graph, node, expr);
    }
  },
};

function convert(graph: GraphEditor, node: Node, expr: Expr): void {
  const operands = node.inputs.filter((value) => value !== undefined);
  graph.redefine(node.outputs[0]!, elementwise(operands, expr, node.outputs[0]!.shape, node.name));
}

/** An `Elementwise` node: operands listed once, single numbers in the expression where the shape allows it. */
export function elementwise(
  operands: readonly Value[],
  expr: Expr,
  shape: readonly number[],
  name: string,
): Pick<Node, 'op' | 'domain' | 'name' | 'inputs' | 'expr'> {
  const tensors = [...new Set(operands)].filter((value) => scalarOf(value) === undefined);
  const covered =
    tensors.length > 0 &&
    equalShapes(
      broadcastShapes(
        tensors.map((value) => value.shape),
        name,
      ),
      shape,
    );
  const kept = covered ? tensors : [...new Set(operands)];
  const inlined = substitute(expr, ({ index, type }) => {
    const value = operands[index]!;
    const at = kept.indexOf(value);
    if (at >= 0) return input(at, type);
    const number = scalarOf(value)!;
    const from = scalarTypeOf(value.dtype);
    if (type === 'bool') return constant(Number(number !== 0), type);
    return constant(type === 'f32' || from !== 'f32' ? number : Math.trunc(number), type);
  });
  const simple = simplify(inlined);
  return { op: 'Elementwise', domain: OWN_DOMAIN, name, ...used(kept, simple, shape) };
}

/** Without the operands that simplification made useless. */
function used(operands: Value[], expr: Expr, shape: readonly number[]): { inputs: Value[]; expr: Expr } {
  const read = new Set<number>();
  substitute(expr, (e) => {
    read.add(e.index);
    return e;
  });
  const inputs = operands.filter((_, index) => read.has(index));
  const fits =
    inputs.length > 0 &&
    equalShapes(
      broadcastShapes(
        inputs.map((value) => value.shape),
        'operands',
      ),
      shape,
    );
  if (inputs.length === operands.length || !fits) return { inputs: operands, expr };
  return { inputs, expr: substitute(expr, (e) => ({ ...e, index: inputs.indexOf(operands[e.index]!) })) };
}
