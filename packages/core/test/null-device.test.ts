import { describe, expect, test } from 'vitest';
import type { Kernel } from '../src/plan/plan.ts';
import { browsers, type BrowserName } from './browsers.ts';
import { KernelCheck, whyNotHere, type Refusal } from './null-device.ts';

const reason = await whyNotHere(browsers.experimental.capabilities);

/** A kernel with one output, `y`. */
function kernel(body: string, directives = '', bindings: Kernel['bindings'] = ['write']): Kernel {
  const code = `${directives}\n@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n${body}`;
  return { name: 'example', code, bindings };
}

const refusal = (name: BrowserName, checked: Kernel, uniform = false): Promise<Refusal | undefined> =>
  new KernelCheck(browsers[name].capabilities).kernel(checked, uniform);

const sum = (threads: number, words: number): Kernel =>
  kernel(`var<workgroup> sums: array<u32, ${words}>;
@compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_index) lane: u32) { sums[lane] = lane; y[lane] = sums[0]; }`);

const matrices = (threads: number): Kernel =>
  kernel(
    `var<workgroup> tile: array<f32, 256>;
@compute @workgroup_size(${threads}) fn main() {
  var sum = subgroup_matrix_result<f32, 16, 16>();
  subgroupMatrixStore<row_major>(&tile, 0u, sum, 16u);
  y[0] = u32(tile[0]);
}`,
    'enable chromium_experimental_subgroup_matrix;',
  );

describe.skipIf(reason)(`kernels${reason === undefined ? '' : ` (${reason})`}`, () => {
  test('one that is right is taken', async () => {
    const right = kernel('@compute @workgroup_size(32) fn main() { y[0] = 1u; }');
    for (const name of Object.keys(browsers)) {
      expect(await refusal(name as BrowserName, right)).toBeUndefined();
    }
  });

  test('one whose text is wrong is told by its name, the place, and the line there', async () => {
    const wrong = kernel('@compute @workgroup_size(32) fn main() {\n  y[0] = fma(1u, 2u, y[1]);\n}');
    expect(await refusal('experimental', wrong)).toEqual({
      kernel: 'example',
      message: expect.stringMatching(/^4:10 error: no matching call to 'fma/),
      line: '  y[0] = fma(1u, 2u, y[1]);',
    });
  });

  test('a plan tells each of its kernels once', async () => {
    const check = new KernelCheck(browsers.stock.capabilities);
    const step = { kind: 'dispatch', kernel: kernel('fn main() { }'), params: new Uint8Array() };
    const steps = [step, step] as never;
    expect(await check.plan({ steps } as never)).toEqual([expect.objectContaining({ kernel: 'example' })]);
    expect(check.size).toBe(1);
  });

  test('features that a browser lacks are refused there', async () => {
    const halves = kernel('@compute @workgroup_size(32) fn main() { y[0] = u32(1h); }', 'enable f16;');
    expect(await refusal('f16', halves)).toBeUndefined();
    expect(await refusal('stock', halves)).toMatchObject({ line: 'enable f16;' });
    expect(await refusal('experimental', matrices(32))).toBeUndefined();
    expect(await refusal('f16', matrices(32))).toMatchObject({
      line: 'enable chromium_experimental_subgroup_matrix;',
    });
  });

  test('bindings have to be those of the text', async () => {
    const read = kernel('@compute @workgroup_size(32) fn main() { y[0] = 1u; }', '', ['read']);
    expect((await refusal('stock', read))?.message).toMatch(/ReadOnlyStorage/);
    const params = kernel(
      '@group(0) @binding(1) var<uniform> n: vec4u; @compute @workgroup_size(32) fn main() { y[0] = n.x; }',
    );
    expect(await refusal('stock', params, true)).toBeUndefined();
    expect((await refusal('stock', params))?.message).toMatch(/binding/i);
  });

  test('workgroups are held against the limits of the device in question', async () => {
    expect(await refusal('experimental', sum(1024, 12288))).toBeUndefined();
    expect((await refusal('experimental', sum(1024, 12289)))?.message).toMatch(/49168 bytes/);
    expect((await refusal('experimental', sum(2048, 2)))?.message).toMatch(/workgroup_size\(2048, 1, 1\)/);
    expect((await refusal('apple', sum(512, 12288)))?.message).toMatch(/49152 bytes/);
    expect(await refusal('least', sum(256, 4096))).toBeUndefined();
    expect((await refusal('least', sum(512, 2)))?.message).toMatch(/workgroup_size\(512, 1, 1\)/);
    expect((await refusal('least', sum(256, 4097)))?.message).toMatch(/16400 bytes/);
  });

  test('matrices need whole subgroups', async () => {
    expect((await refusal('experimental', matrices(48)))?.message).toMatch(/x-dimension of workgroup_size/);
  });
});
