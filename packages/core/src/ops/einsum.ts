import { ShapeError } from '../errors.ts';
import type { Node, Value } from '../graph/graph.ts';
import { broadcastShapes, equalShapes, formatShape, sizeOf } from '../tensor/shape.ts';
import { Compose } from './compose.ts';
import type { OpDefinition, OpTable } from './op.ts';
import { describe, operand, stringAttribute } from './operands.ts';

/**
 * An equation with one label for every axis. Labels are letters; the axes of an ellipsis are `.0`, `.1`, … counted
 * from the last one, so that ellipses of different rank broadcast.
 */
interface Equation {
  inputs: string[][];
  output: string[];
  /** Size of each label after broadcasting. */
  sizes: Map<string, number>;
}

/** Parses an equation for the shapes of the node's operands. Throws `ShapeError` where they do not fit. */
function equationOf(node: Node): Equation {
  const equation = stringAttribute(node, 'equation', '').replace(/\s+/g, '');
  const wrong = (expected: string, actual: string): ShapeError =>
    new ShapeError(describe(node), { expected: `${expected} in equation '${equation}'`, actual });
  const [left = '', right, more] = equation.split('->');
  const terms = left.split(',');
  if (more !== undefined || terms.length !== node.inputs.length) {
    throw wrong(`a term for each of ${node.inputs.length} operands`, `${terms.length} terms`);
  }
  const inputs = terms.map((term, index) => {
    const { shape } = operand(node, index);
    const labels = labelsOf(term, shape.length);
    if (labels?.length !== shape.length)
      throw wrong(`a label for each axis of operand ${index}`, formatShape(shape));
    return labels;
  });
  const all = inputs.flat();
  const dots = [...new Set(all.filter((label) => label.startsWith('.')))].toSorted((a, b) =>
    b.localeCompare(a),
  );
  const letters = [...new Set(all)].filter((label) => !label.startsWith('.'));
  const once = letters.filter((label) => all.indexOf(label) === all.lastIndexOf(label)).toSorted();
  const output = right === undefined ? [...dots, ...once] : labelsOf(right, undefined, dots);
  if (!output || new Set(output).size !== output.length || !output.every((label) => all.includes(label))) {
    throw wrong('an output of distinct labels of the operands', right ?? 'none');
  }
  const sizes = new Map<string, number>();
  inputs.forEach((labels, index) =>
    labels.forEach((label, axis) => {
      const size = operand(node, index).shape[axis]!;
      const [joined] = broadcastShapes([[sizes.get(label) ?? 1], [size]], describe(node));
      sizes.set(label, joined!);
    }),
  );
  return { inputs, output, sizes };
}

/** Labels of a term. `dots` are those of the ellipsis; by default it takes the axes that `rank` leaves. */
function labelsOf(term: string, rank?: number, dots?: readonly string[]): string[] | undefined {
  if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term)) return undefined;
  const [before = '', after] = term.split('...');
  if (after === undefined) return before.split('');
  const count = (rank ?? 0) - before.length - after.length;
  if (count < 0 && !dots) return undefined;
  const ellipsis = dots ?? Array.from({ length: count }, (_, k) => `.${count - 1 - k}`);
  return [...before.split(''), ...ellipsis, ...after.split('')];
}

/** A value with a label for each axis. */
interface Term {
  value: Value;
  labels: string[];
}

/** Sums of products, two operands at a time: transpositions are views, contractions matrix products. */
const einsum: OpDefinition = {
  infer(node) {
    const { output, sizes } = equationOf(node);
    return [{ dtype: operand(node, 0).dtype, shape: output.map((label) => sizes.get(label)!) }];
  },
  expand(node, build) {
    const c = new Compose(build);
    const { inputs, output, sizes } = equationOf(node);
    const terms = inputs.map((labels, index) => diagonal(c, { value: operand(node, index), labels }));
    const rest = [...terms];
    let result = rest.shift()!;
    for (;;) {
      const wanted = new Set([...output, ...rest.flatMap(({ labels }) => labels)]);
      result = sumOut(c, result, (label) => wanted.has(label));
      const next = rest.shift();
      if (!next) break;
      const later = new Set([...output, ...rest.flatMap(({ labels }) => labels)]);
      const kept = new Set([...later, ...result.labels]);
      result = contract(
        c,
        result,
        sumOut(c, next, (label) => kept.has(label)),
        later,
        sizes,
      );
    }
    const { value } = arranged(c, result, output);
    const shape = output.map((label) => sizes.get(label)!);
    return [equalShapes(value.shape, shape) ? value : c.op('Expand', [value, c.ints(shape)])];
  },
};

/** Takes the diagonal along labels that occur twice. */
function diagonal(c: Compose, term: Term): Term {
  const repeated = term.labels.find((label, k) => term.labels.indexOf(label) !== k);
  if (repeated === undefined) return term;
  const first = term.labels.indexOf(repeated);
  const second = term.labels.indexOf(repeated, first + 1);
  const others = term.labels.map((_, axis) => axis).filter((axis) => axis !== first && axis !== second);
  const moved = c.transpose(term.value, [...others, first, second]);
  const shape = moved.shape.slice(0, -2);
  const size = moved.shape.at(-1)!;
  const flat = c.reshape(moved, [...shape, size * moved.shape.at(-2)!]);
  const axis = shape.length;
  // Every (size + 1)-th element of a square lies on its diagonal.
  const value = c.op('Slice', [flat, c.ints([0]), c.ints([size * size]), c.ints([axis]), c.ints([size + 1])]);
  return diagonal(c, { value, labels: [...others.map((other) => term.labels[other]!), repeated] });
}

/** Sums over the labels that are not wanted. */
function sumOut(c: Compose, { value, labels }: Term, wanted: (label: string) => boolean): Term {
  const axes = labels.flatMap((label, axis) => (wanted(label) ? [] : [axis]));
  if (axes.length === 0) return { value, labels };
  return { value: c.op('ReduceSum', [value, c.ints(axes)], { keepdims: 0 }), labels: labels.filter(wanted) };
}

/** The labels in another order, with axes of size 1 for those that are missing. */
function arranged(c: Compose, { value, labels }: Term, order: readonly string[]): Term {
  const present = order.filter((label) => labels.includes(label));
  const moved = c.transpose(
    value,
    present.map((label) => labels.indexOf(label)),
  );
  let axis = 0;
  const shape = order.map((label) => (labels.includes(label) ? moved.shape[axis++]! : 1));
  return { value: c.reshape(moved, shape), labels: [...order] };
}

/** The product of two terms, summed over the labels that both have and nobody wants later. */
function contract(
  c: Compose,
  a: Term,
  b: Term,
  later: ReadonlySet<string>,
  sizes: ReadonlyMap<string, number>,
): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const summed = shared.filter((label) => !later.has(label));
  const batch = shared.filter((label) => later.has(label));
  const [rows, columns] = [a, b].map(({ labels }) => labels.filter((label) => !shared.includes(label)));
  const labels = [...batch, ...rows!, ...columns!];
  if (summed.length === 0) {
    return { value: c.mul(arranged(c, a, labels).value, arranged(c, b, labels).value), labels };
  }
  const size = (of: readonly string[]): number => sizeOf(of.map((label) => sizes.get(label)!));
  const matrix = (term: Term, first: readonly string[], second: readonly string[]): Value => {
    const { value } = arranged(c, term, [...batch, ...first, ...second]);
    // Only batch axes may broadcast from here on.
    const shape = [
      ...value.shape.slice(0, batch.length),
      ...[...first, ...second].map((label) => sizes.get(label)!),
    ];
    const full = equalShapes(value.shape, shape) ? value : c.op('Expand', [value, c.ints(shape)]);
    return c.reshape(full, [...shape.slice(0, batch.length), size(first), size(second)]);
  };
  const product = c.op('MatMul', [matrix(a, rows!, summed), matrix(b, summed, columns!)]);
  const shape = [
    ...product.shape.slice(0, batch.length),
    ...[...rows!, ...columns!].map((label) => sizes.get(label)!),
  ];
  return { value: c.reshape(product, shape), labels };
}

export const einsumOps: OpTable = { Einsum: einsum };
