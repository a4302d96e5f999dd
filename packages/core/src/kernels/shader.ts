import type { Capabilities, Precision } from '../plan/capabilities.ts';
import type { BufferId, Kernel, Storage, TensorView } from '../plan/plan.ts';
import { assertNever } from '../errors.ts';

/**
 * A kernel in parts, from which `buildShader` makes complete WGSL. The body comes from a `.wgsl` file (or a generator)
 * and reaches tensors only through generated accessors, so one body serves every storage type:
 *
 * - `NAME_load(i) -> T` and `NAME_load4(i) -> vec4<T>` for each input: element `i` of the buffer, and elements
 *   `i … i+3` where `i` is a multiple of 4. `T` is f32, i32 or u32 (`scalarOf`).
 * - `NAME_store4(i, v)` for each output, and `NAME_store(i, v)` except for f16 stored without `shader-f16`: there two
 *   elements share a word, so whoever writes must own groups of four.
 * - `params.FIELD` for each param, and a WGSL `const` for each constant.
 * - `flat_workgroup(workgroup_id, num_workgroups) -> u32`, the inverse of `gridFor`.
 */
export interface ShaderSpec {
  /** Kernel and variant; becomes the pipeline's label. */
  name: string;
  body: string;
  inputs: Readonly<Record<string, TensorView>>;
  outputs: Readonly<Record<string, TensorView>>;
  /**
   * Tensors to bind as `array<vec4<u32>>`, without accessors: f16 storage for kernels that move or multiply it in
   * pieces of 16 bytes.
   */
  raw?: readonly string[];
  params?: Readonly<Record<string, Param>>;
  /** Numbers become `u32`, booleans `bool`; strings are WGSL text (`'1e-5'`, `'vec4f(0)'`). */
  constants?: Readonly<Record<string, number | boolean | string>>;
  /** `alias NAME = TYPE;` */
  aliases?: Readonly<Record<string, string>>;
  /** More WGSL before the body: generated epilogues and the like. */
  functions?: string;
  /** `enable` and `diagnostic` lines, without the semicolons. `f16` is added where needed. */
  directives?: readonly string[];
}

export interface Param {
  type: 'u32' | 'i32' | 'f32';
  value: number;
}

export const u32 = (value: number): Param => ({ type: 'u32', value });
export const i32 = (value: number): Param => ({ type: 'i32', value });
export const f32 = (value: number): Param => ({ type: 'f32', value });

export interface Shader {
  kernel: Kernel;
  buffers: BufferId[];
  params: Uint8Array<ArrayBuffer>;
}

/** WGSL type that loading from `storage` gives. */
export function scalarOf(storage: Storage): 'f32' | 'i32' | 'u32' {
  switch (storage) {
    case 'f32':
    case 'f16':
    case 'bf16':
      return 'f32';
    case 'i32':
    case 'i64':
    case 'i8':
    case 'i4':
      return 'i32';
    case 'u32':
    case 'u8':
    case 'u4':
      return 'u32';
    default:
      return assertNever(storage);
  }
}

/** Bits that one element takes in a buffer. */
export const storageBits: Readonly<Record<Storage, number>> = {
  f32: 32, f16: 16, i32: 32, u32: 32, bf16: 16, i64: 64, i8: 8, u8: 8, i4: 4, u4: 4,
}; // prettier-ignore

/** Whether shaders may use the type `f16`. */
export function hasNativeF16(capabilities: Capabilities, precision: Precision): boolean {
  return capabilities.features.shaderF16 && precision === 'f16';
}

/** Puts the prelude (bindings, accessors, params, constants) before the body. */
export function buildShader(spec: ShaderSpec, nativeF16: boolean): Shader {
  const buffers: BufferId[] = [];
  const bindings: ('read' | 'write')[] = [];
  const declarations: string[] = [];
  let usesF16 = false;
  const bind = (name: string, view: TensorView, access: 'read' | 'write'): void => {
    const native = nativeF16 && view.storage === 'f16';
    usesF16 ||= native;
    const layout = spec.raw?.includes(name) ? RAW : layouts(name, view.storage, native);
    const mode = access === 'read' ? 'read' : 'read_write';
    declarations.push(
      `@group(0) @binding(${buffers.length}) var<storage, ${mode}> ${name}: array<${layout.element}>;`,
      access === 'read' ? layout.load : layout.store,
    );
    buffers.push(view.buffer);
    bindings.push(access);
  };
  for (const [name, view] of Object.entries(spec.inputs)) bind(name, view, 'read');
  for (const [name, view] of Object.entries(spec.outputs)) bind(name, view, 'write');

  const params = Object.entries(spec.params ?? {});
  if (params.length > 0) {
    declarations.push(
      `struct Params { ${params.map(([name, { type }]) => `${name}: ${type}`).join(', ')} }`,
      `@group(0) @binding(${buffers.length}) var<uniform> params: Params;`,
    );
  }
  const directives = [...(usesF16 ? ['enable f16'] : []), ...(spec.directives ?? [])];
  const code = [
    ...[...new Set(directives)].map((directive) => `${directive};`),
    ...declarations,
    'fn flat_workgroup(id: vec3u, grid: vec3u) -> u32 { return id.y * grid.x + id.x; }',
    ...Object.entries(spec.aliases ?? {}).map(([name, type]) => `alias ${name} = ${type};`),
    ...Object.entries(spec.constants ?? {}).map(([name, value]) => `const ${name} = ${literal(value)};`),
    spec.functions ?? '',
    spec.body,
  ].join('\n');
  return {
    kernel: { name: spec.name, code, bindings },
    buffers,
    params: packParams(params.map(([, p]) => p)),
  };
}

function literal(value: number | boolean | string): string {
  if (typeof value === 'number') return `${value}u`;
  return String(value);
}

/** Scalars one after the other, padded to 16 bytes as uniform buffers want it. */
function packParams(params: readonly Param[]): Uint8Array<ArrayBuffer> {
  const bytes = new DataView(new ArrayBuffer(Math.ceil(params.length / 4) * 16));
  params.forEach(({ type, value }, i) => {
    if (type === 'f32') bytes.setFloat32(i * 4, value, true);
    else if (type === 'i32') bytes.setInt32(i * 4, value, true);
    else bytes.setUint32(i * 4, value, true);
  });
  return new Uint8Array(bytes.buffer);
}

interface Layout {
  element: string;
  load: string;
  store: string;
}

/** See `ShaderSpec.raw`. */
const RAW: Layout = { element: 'vec4<u32>', load: '', store: '' };

function layouts(x: string, storage: Storage, native: boolean): Layout {
  const load = (type: string, one: string, four: string): string =>
    `fn ${x}_load(i: u32) -> ${type} { return ${one}; }\n` +
    `fn ${x}_load4(i: u32) -> vec4<${type}> { ${four} }`;
  const fourLoads = (type: string): string =>
    `return vec4<${type}>(${x}_load(i), ${x}_load(i + 1u), ${x}_load(i + 2u), ${x}_load(i + 3u));`;
  const readOnly = '';
  switch (storage) {
    case 'f32':
    case 'i32':
    case 'u32':
      return {
        element: `vec4<${storage}>`,
        load: load(storage, `${x}[i >> 2u][i & 3u]`, `return ${x}[i >> 2u];`),
        store:
          `fn ${x}_store(i: u32, v: ${storage}) { ${x}[i >> 2u][i & 3u] = v; }\n` +
          `fn ${x}_store4(i: u32, v: vec4<${storage}>) { ${x}[i >> 2u] = v; }`,
      };
    case 'f16':
      // Out-of-range values saturate: WGSL leaves their conversion open, and an infinity would spread as NaN.
      return native
        ? {
            element: 'vec4<f16>',
            load: load('f32', `f32(${x}[i >> 2u][i & 3u])`, `return vec4f(${x}[i >> 2u]);`),
            store:
              `fn ${x}_store(i: u32, v: f32) { ${x}[i >> 2u][i & 3u] = f16(clamp(v, -65504.0, 65504.0)); }\n` +
              `fn ${x}_store4(i: u32, v: vec4f) { ${x}[i >> 2u] = vec4<f16>(clamp(v, vec4f(-65504.0), vec4f(65504.0))); }`,
          }
        : {
            element: 'vec2<u32>',
            load: load(
              'f32',
              `unpack2x16float(${x}[i >> 2u][(i >> 1u) & 1u])[i & 1u]`,
              `let w = ${x}[i >> 2u]; return vec4f(unpack2x16float(w.x), unpack2x16float(w.y));`,
            ),
            store:
              `fn ${x}_store4(i: u32, v: vec4f) { let c = clamp(v, vec4f(-65504.0), vec4f(65504.0)); ` +
              `${x}[i >> 2u] = vec2u(pack2x16float(c.xy), pack2x16float(c.zw)); }`,
          };
    case 'bf16':
      return {
        element: 'u32',
        load: load('f32', `bitcast<f32>((${x}[i >> 1u] >> (16u * (i & 1u))) << 16u)`, fourLoads('f32')),
        store: readOnly,
      };
    case 'i64':
      return { element: 'vec2<i32>', load: load('i32', `${x}[i].x`, fourLoads('i32')), store: readOnly };
    case 'i8':
      return {
        element: 'u32',
        load: load('i32', `extractBits(bitcast<i32>(${x}[i >> 2u]), 8u * (i & 3u), 8u)`, fourLoads('i32')),
        store: readOnly,
      };
    case 'u8':
      return {
        element: 'u32',
        load: load('u32', `extractBits(${x}[i >> 2u], 8u * (i & 3u), 8u)`, fourLoads('u32')),
        store: readOnly,
      };
    case 'i4':
      return {
        element: 'u32',
        load: load('i32', `extractBits(bitcast<i32>(${x}[i >> 3u]), 4u * (i & 7u), 4u)`, fourLoads('i32')),
        store: readOnly,
      };
    case 'u4':
      return {
        element: 'u32',
        load: load('u32', `extractBits(${x}[i >> 3u], 4u * (i & 7u), 4u)`, fourLoads('u32')),
        store: readOnly,
      };
    default:
      return assertNever(storage);
  }
}

/** Spreads `workgroups` over two grid dimensions; the shader undoes it with `flat_workgroup` and checks the end. */
export function gridFor(workgroups: number, capabilities: Capabilities): [number, number, number] {
  const limit = capabilities.limits.maxComputeWorkgroupsPerDimension;
  if (workgroups <= limit) return [workgroups, 1, 1];
  const rows = Math.ceil(workgroups / limit);
  return [Math.ceil(workgroups / rows), rows, 1];
}
