import { assertNever } from '../../errors.ts';
import type { Expr, ScalarType } from '../../graph/expr.ts';
import { scalarFunctions } from '../../graph/scalar-functions.ts';
import type { Storage } from '../../plan/plan.ts';
import { scalarOf } from '../shader.ts';

export interface ExprCode {
  /** WGSL expression of type vec4 of the expression's scalar type. */
  text: string;
  /** Helper functions that it calls. */
  helpers: string;
}

/**
 * WGSL for an expression over four elements at once.
 *
 * @param operand the text and the scalar type of each input, by index
 */
export function exprToWgsl(
  expr: Expr,
  operand: (index: number) => { text: string; type: ScalarType },
): ExprCode {
  const helpers = new Set<string>();
  const emit = (e: Expr): string => {
    switch (e.kind) {
      case 'input': {
        const { text, type } = operand(e.index);
        return convert(text, type, e.type);
      }
      case 'const':
        return `vec4<${e.type}>(${numberText(e.value, e.type)})`;
      case 'call': {
        const fn = scalarFunctions[e.fn];
        if (!fn) throw new Error(`Internal error: no scalar function '${e.fn}'`);
        for (const helper of [fn.helpers ?? []].flat()) helpers.add(helper);
        return fn.wgsl(e.args.map(emit), e.type);
      }
      default:
        return assertNever(e);
    }
  };
  return { text: emit(expr), helpers: [...helpers].join('\n') };
}

/** Text of type vec4<from> as vec4<to>. */
export function convert(text: string, from: ScalarType, to: ScalarType): string {
  if (from === to) return text;
  if (to === 'bool') return `(${text} != vec4<${from}>(0))`;
  if (from === 'bool') return `select(vec4<${to}>(0), vec4<${to}>(1), ${text})`;
  return `vec4<${to}>(${text})`;
}

/** Brings a vec4 of an expression's type to what storing into `storage` takes. */
export function toStorage(text: string, type: ScalarType, storage: Storage): string {
  return convert(text, type, scalarOf(storage));
}

function numberText(value: number, type: ScalarType): string {
  switch (type) {
    case 'bool':
      return value !== 0 ? 'true' : 'false';
    case 'i32':
      // -2^31 has no literal; integers beyond 32 bits (INT64_MAX as "no limit") saturate.
      return value <= -2147483648 ? 'i32(-2147483647 - 1)' : `${Math.min(Math.trunc(value), 2147483647)}`;
    case 'u32':
      return `${Math.min(Math.max(Math.trunc(value), 0), 4294967295)}u`;
    case 'f32':
      return floatText(value);
    default:
      return assertNever(type);
  }
}

/** WGSL rejects constant expressions that are infinite or NaN, hence the bit patterns through a variable-free cast. */
function floatText(value: number): string {
  const single = Math.fround(value);
  if (Number.isNaN(single)) return 'nan_f32()';
  if (single === Infinity) return 'inf_f32()';
  if (single === -Infinity) return '-inf_f32()';
  const text = String(single);
  return /[.e]/.test(text) ? text : `${text}.0`;
}
