/**
 * WGSL text for 16x16 f16 matrices with f32 accumulators (tensor cores), as `chromium_experimental_subgroup_matrix` spells
 * them; or for an emulation of them in plain WGSL with subgroups of 32 made of threads, in which tests run the very same
 * kernels on adapters without subgroups of 32 or f16.
 *
 * Tiles in workgroup memory are nested arrays of vec4<u32> (eight halves, or four floats): matrices are read from
 * `tile[block]` at a constant offset with a constant pitch, because every other form makes the compiler guard each
 * access (measured 1.5 to 2.4 times slower on an H200). Offsets and pitches count vec4.
 */
export interface MatrixDialect {
  readonly directives: readonly string[];
  /** Parameters of the entry point after `lane: u32`; then statements that define `lane_id` and `subgroup`. */
  readonly entry: { parameters: string; start: string };
  /** Declares a workgroup array of `blocks` × `inner` vec4<u32>. */
  declare(tile: string, inner: number, blocks: number): string;
  /** `let NAME`: a left operand (rows × depth), row-major. */
  left(name: string, tile: string, block: string, offset: number, pitch: number): string;
  /** `let NAME`: a right operand (depth × columns); stored by rows of depth, or by columns. */
  right(
    name: string,
    tile: string,
    block: string,
    offset: number,
    pitch: number,
    stored: 'by depth' | 'by column',
  ): string;
  /** `var NAME`, zero. */
  accumulator(name: string): string;
  /** `NAME += left · right` of names from `left` and `right`. */
  multiply(accumulator: string, left: string, right: string): string;
  /** Stores an accumulator as rows of floats. */
  store(accumulator: string, tile: string, block: string, offset: number, pitch: number): string;
  /** Reads back what `store` wrote. */
  restore(accumulator: string, tile: string, block: string, offset: number, pitch: number): string;
  /** Text of two words with the halves of a vec4f. */
  pack(text: string): string;
  /** Value of the lane `distance` away (xor), and the declarations that needs. */
  exchange(text: string, distance: number): string;
  exchangeDeclaration(threads: number): string;
}

export const nativeMatrices: MatrixDialect = {
  directives: [
    'enable f16',
    'enable subgroups',
    'enable chromium_experimental_subgroup_matrix',
    'diagnostic(off, chromium.subgroup_matrix_uniformity)',
    'diagnostic(off, subgroup_uniformity)',
  ],
  entry: {
    parameters: ', @builtin(subgroup_invocation_id) lane_id: u32, @builtin(subgroup_id) subgroup: u32',
    start: '',
  },
  declare: (tile, inner, blocks) => `var<workgroup> ${tile}: array<array<vec4<u32>, ${inner}>, ${blocks}>;`,
  left: (name, tile, block, offset, pitch) =>
    `let ${name} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&${tile}[${block}], ${offset}u, ${pitch}u);`,
  right: (name, tile, block, offset, pitch, stored) =>
    `let ${name} = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, ${stored === 'by column' ? 'col_major' : 'row_major'}>(&${tile}[${block}], ${offset}u, ${pitch}u);`,
  accumulator: (name) => `var ${name} = subgroup_matrix_result<f32, 16, 16>();`,
  multiply: (accumulator, left, right) =>
    `${accumulator} = subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${accumulator});`,
  store: (accumulator, tile, block, offset, pitch) =>
    `subgroupMatrixStore<row_major>(&${tile}[${block}], ${offset}u, ${accumulator}, ${pitch}u);`,
  restore: (accumulator, tile, block, offset, pitch) =>
    `${accumulator} = subgroupMatrixLoad<subgroup_matrix_result<f32, 16, 16>, row_major>(&${tile}[${block}], ${offset}u, ${pitch}u);`,
  pack: (text) => `bitcast<vec2<u32>>(vec4<f16>(${text}))`,
  exchange: (text, distance) => `subgroupShuffleXor(${text}, ${distance}u)`,
  exchangeDeclaration: () => '',
};

/** Each of 32 threads holds eight elements of an accumulator: element e is row (32e + lane) / 16, column lane % 16. */
export function emulatedMatrices(): MatrixDialect {
  /** Tiles of the left operands, by name. */
  const lefts = new Map<string, string>();
  return {
    directives: [],
    entry: { parameters: '', start: 'let lane_id = lane & 31u; let subgroup = lane >> 5u;' },
    declare: (tile, inner, blocks) => `var<workgroup> ${tile}: array<array<vec4<u32>, ${inner}>, ${blocks}>;
fn ${tile}_half(block: u32, i: u32) -> f32 { return unpack2x16float(${tile}[block][i >> 3u][(i >> 1u) & 3u])[i & 1u]; }
fn ${tile}_multiply(sum: array<f32, 8>, block: u32, start: u32, pitch: u32, other: array<f32, 16>, lane_id: u32) -> array<f32, 8> {
  var r = sum;
  for (var e = 0u; e < 8u; e++) {
    let row = 2u * e + (lane_id >> 4u);
    for (var k = 0u; k < 16u; k++) { r[e] += ${tile}_half(block, start + row * pitch + k) * other[k]; }
  }
  return r;
}
fn ${tile}_column(block: u32, start: u32, step_k: u32, step_n: u32, lane_id: u32) -> array<f32, 16> {
  var column = array<f32, 16>();
  for (var k = 0u; k < 16u; k++) { column[k] = ${tile}_half(block, start + k * step_k + (lane_id & 15u) * step_n); }
  return column;
}
fn ${tile}_store(block: u32, start: u32, pitch: u32, v: array<f32, 8>, lane_id: u32) {
  for (var e = 0u; e < 8u; e++) {
    let i = start + (2u * e + (lane_id >> 4u)) * pitch + (lane_id & 15u);
    ${tile}[block][i >> 2u][i & 3u] = bitcast<u32>(v[e]);
  }
}
fn ${tile}_restore(block: u32, start: u32, pitch: u32, lane_id: u32) -> array<f32, 8> {
  var v = array<f32, 8>();
  for (var e = 0u; e < 8u; e++) {
    let i = start + (2u * e + (lane_id >> 4u)) * pitch + (lane_id & 15u);
    v[e] = bitcast<f32>(${tile}[block][i >> 2u][i & 3u]);
  }
  return v;
}`,
    // A left operand is only an address, multiplied by its tile's own function.
    left: (name, tile, block, offset, pitch) => {
      lefts.set(name, tile);
      return `let ${name} = vec3u(${block}, ${8 * offset}u, ${8 * pitch}u);`;
    },
    right: (name, tile, block, offset, pitch, stored) =>
      `let ${name} = ${tile}_column(${block}, ${8 * offset}u, ${stored === 'by column' ? '1u' : `${8 * pitch}u`}, ${stored === 'by column' ? `${8 * pitch}u` : '1u'}, lane_id);`,
    accumulator: (name) => `var ${name} = array<f32, 8>();`,
    multiply: (accumulator, left, right) =>
      `${accumulator} = ${lefts.get(left)!}_multiply(${accumulator}, ${left}.x, ${left}.y, ${left}.z, ${right}, lane_id);`,
    store: (accumulator, tile, block, offset, pitch) =>
      `${tile}_store(${block}, ${4 * offset}u, ${4 * pitch}u, ${accumulator}, lane_id);`,
    restore: (accumulator, tile, block, offset, pitch) =>
      `${accumulator} = ${tile}_restore(${block}, ${4 * offset}u, ${4 * pitch}u, lane_id);`,
    pack: (text) => `pack_halves(${text})`,
    exchange: (text, distance) => `exchange(${text}, ${distance}u, lane)`,
    exchangeDeclaration: (threads) => `var<workgroup> exchanged: array<f32, ${threads}>;
fn exchange(v: f32, distance: u32, lane: u32) -> f32 {
  workgroupBarrier();
  exchanged[lane] = v;
  workgroupBarrier();
  let other = exchanged[lane ^ distance];
  workgroupBarrier();
  return other;
}`,
  };
}
