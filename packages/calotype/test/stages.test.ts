import { expect, test } from 'vitest';
import { guidanceEmbedding } from '../src/families/stable-diffusion.ts';
import { NoiseSource, TorchGenerator } from '../src/random/index.ts';
import { controlScale, residualNames, type JobControl } from '../src/stages/control.ts';

test('residuals are found whatever an exporter calls them, in the order of their numbers', () => {
  const orders = [
    (i: number) => `down_block_res_${i}`,
    (i: number) => `down_block_additional_residuals.${i}`,
    (i: number) => `down_block_${i}_additional_residual`,
  ];
  for (const name of orders) {
    const down = Array.from({ length: 12 }, (_, i) => name(i));
    const shuffled = ['sample', 'mid_block_residual', ...down.toReversed(), 'timestep'];
    expect(residualNames(shuffled)).toEqual([...down, 'mid_block_residual']);
  }
});

test('a control net takes part between its shares of the steps', () => {
  const control = { scale: 0.5, start: 0.2, end: 0.8 } as JobControl;
  const scales = Array.from({ length: 5 }, (_, step) => controlScale(control, step, 5));
  expect(scales).toEqual([0, 0.5, 0.5, 0.5, 0]);
  expect(controlScale(undefined, 0, 5)).toBe(0);
});

test('noise is drawn in order, for one seed or for each image its own', () => {
  const one = new NoiseSource({ seed: 3, images: 2 });
  const generator = new TorchGenerator(3);
  expect(one.next([2, 1, 4, 4])).toEqual(generator.randn([2, 1, 4, 4]));
  expect(one.next([2, 1, 4, 4])).toEqual(generator.randn([2, 1, 4, 4]));
  expect(one.draws).toBe(2);
  const each = new NoiseSource({ seed: [3, 4], images: 2 }).next([2, 1, 4, 4]);
  expect(each.subarray(16)).toEqual(new TorchGenerator(4).randn([1, 1, 4, 4]));
  expect(() => new NoiseSource({ seed: [1], images: 2 })).toThrow('one for each image');
});

test('the guidance embedding of an LCM starts with sines of falling frequency', () => {
  const values = guidanceEmbedding(2, 4);
  [Math.sin(1000), Math.sin(0.1), Math.cos(1000), Math.cos(0.1)].forEach((value, i) =>
    expect(values[i]).toBeCloseTo(value, 10),
  );
  expect(guidanceEmbedding(2, 5)).toHaveLength(5);
});
