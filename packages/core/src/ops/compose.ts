import type { Value } from '../graph/graph.ts';
import { codeOf } from '../onnx/element-types.ts';
import type { DataType } from '../tensor/dtype.ts';
import { equalShapes, type Shape } from '../tensor/shape.ts';
import { rowMajor } from '../plan/view.ts';
import type { Build } from './op.ts';

type Attributes = Readonly<Record<string, number | readonly number[] | string>>;

/** Short hands for rewrites into other operators. Every method gives the first result of the node that it makes. */
export class Compose {
  readonly build: Build;

  constructor(build: Build) {
    this.build = build;
  }

  op(op: string, inputs: (Value | undefined)[], attributes?: Attributes, domain = ''): Value {
    return this.build.node(op, inputs, attributes, { domain })[0]!;
  }

  /** A constant list of integers: a shape, axes. */
  ints(data: readonly number[]): Value {
    return this.build.constant(data, [data.length], 'int64');
  }

  scalar(value: number, dtype: DataType): Value {
    return this.build.constant([value], [], dtype);
  }

  add(a: Value, b: Value): Value {
    return this.op('Add', [a, b]);
  }

  sub(a: Value, b: Value): Value {
    return this.op('Sub', [a, b]);
  }

  mul(a: Value, b: Value): Value {
    return this.op('Mul', [a, b]);
  }

  cast(x: Value, dtype: DataType): Value {
    return x.dtype === dtype ? x : this.op('Cast', [x], { to: codeOf(dtype) });
  }

  reshape(x: Value, shape: Shape): Value {
    // A zero would mean "as before".
    return equalShapes(x.shape, shape) ? x : this.op('Reshape', [x, this.ints(shape)], { allowzero: 1 });
  }

  transpose(x: Value, perm: readonly number[]): Value {
    return perm.every((axis, k) => axis === k) ? x : this.op('Transpose', [x], { perm });
  }

  /** Channels-last to ONNX's own order: [N, …, C] as [N, C, …]. */
  channelsFirst(x: Value): Value {
    const rank = x.shape.length;
    return this.transpose(x, [0, rank - 1, ...rowMajor(rank).slice(1, -1)]);
  }

  /** [N, C, …] as [N, …, C]. */
  channelsLast(x: Value): Value {
    return this.transpose(x, [0, ...rowMajor(x.shape.length).slice(2), 1]);
  }

  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0]! : this.op('Concat', [...values], { axis });
  }

  /** Elements `start` to `end` (not included) of an axis. */
  slice(x: Value, axis: number, start: number, end: number): Value {
    return start === 0 && end === x.shape[axis]
      ? x
      : this.op('Slice', [x, this.ints([start]), this.ints([end]), this.ints([axis])]);
  }

  /** Parts of the given sizes along an axis. */
  split(x: Value, axis: number, sizes: readonly number[]): Value[] {
    let start = 0;
    return sizes.map((size) => this.slice(x, axis, start, (start += size)));
  }
}
