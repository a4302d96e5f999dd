import { lookup } from '../../ops/registry.ts';
import { type DataType, isFloat } from '../../tensor/dtype.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { GraphEditor } from '../edit.ts';
import { constant, countReads, type Expr, type ScalarType, substitute } from '../expr.ts';
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
      const definition = lookup(node.domain, node.op);
      // What no kernel runs stays ONNX, for the fallback.
      const expr = definition?.refuse?.(node) === undefined ? definition?.elementwise?.(node) : undefined;
      if (expr && node.outputs.length === 1) convert(graph, node, expr);
    }
  },
};

function convert(graph: GraphEditor, node: Node, expr: Expr): void {
  const operands = node.inputs.filter((value) => value !== undefined);
  graph.redefine(node.outputs[0]!, elementwise(operands, expr, node.outputs[0]!.shape, node.name));
}

/**
 * An `Elementwise` node: operands listed once, single numbers in the expression where the shape allows it, and none that
 * the expression does not read unless the shape comes from it.
 */
export function elementwise(
  operands: readonly Value[],
  expr: Expr,
  shape: readonly number[],
  name: string,
): Pick<Node, 'op' | 'domain' | 'name' | 'inputs' | 'expr'> {
  const simple = simplify(
    substitute(expr, (e) => {
      const value = operands[e.index]!;
      const number = scalarOf(value);
      // One operand has one index: patterns compare expressions.
      return number === undefined
        ? { ...e, index: operands.indexOf(value) }
        : numberAs(number, value.dtype, e.type);
    }),
  );
  const kept = readBy(simple, operands);
  if (givesShape(kept, shape)) return made(kept, simple);
  const all = readBy(expr, operands);
  return givesShape(all, shape) ? made(all, expr) : made([...new Set(operands)], expr);

  function made(inputs: Value[], own: Expr): Pick<Node, 'op' | 'domain' | 'name' | 'inputs' | 'expr'> {
    const placed = substitute(own, (e) => ({ ...e, index: inputs.indexOf(operands[e.index]!) }));
    return { op: 'Elementwise', domain: OWN_DOMAIN, name, inputs, expr: placed };
  }
}

/** The number as an operand of that dtype would be read. */
function numberAs(number: number, dtype: DataType, type: ScalarType): Expr {
  if (type === 'bool') return constant(Number(number !== 0), type);
  return constant(type === 'f32' || !isFloat(dtype) ? number : Math.trunc(number), type);
}

/** The operands that an expression reads, each once. */
function readBy(expr: Expr, operands: readonly Value[]): Value[] {
  const read = countReads(expr);
  return [...new Set(operands.filter((_, index) => read.has(index)))];
}

/** Whether operands broadcast to exactly `shape`. */
function givesShape(operands: readonly Value[], shape: Shape): boolean {
  const fits = operands.every((value) => {
    const missing = shape.length - value.shape.length;
    return missing >= 0 && value.shape.every((dim, axis) => dim === 1 || dim === shape[axis + missing]);
  });
  const covers = (dim: number, axis: number): boolean =>
    operands.some((value) => (value.shape[axis - shape.length + value.shape.length] ?? NaN) === dim);
  return fits && operands.length > 0 && shape.every(covers);
}
