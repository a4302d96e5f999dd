import { expect, test } from 'vitest';
import { leastSquares, meanColours } from './learn-colours.ts';

test.each([4, 8, 16])('finds the colours of %i channels again', (channels) => {
  const samples = 400;
  const latents = Float32Array.from({ length: channels * samples }, (_, i) => Math.sin(i * 1.7 + i ** 1.3));
  const wanted = Float64Array.from({ length: (channels + 1) * 3 }, (_, i) => Math.cos(i * 2.3));
  const colours = Float64Array.from({ length: 3 * samples }, (_, at) => {
    const [c, i] = [Math.floor(at / samples), at % samples];
    let sum = wanted[channels * 3 + c]!;
    for (let k = 0; k < channels; k++) sum += wanted[k * 3 + c]! * latents[k * samples + i]!;
    return sum;
  });
  const found = leastSquares(latents, colours, channels);
  found.forEach((value, i) => expect(value).toBeCloseTo(wanted[i]!, 5));
});

test('means are over the pixels of a latent', () => {
  const pixels = Float32Array.from({ length: 3 * 16 }, (_, i) => i);
  expect([...meanColours(pixels, 2, 2)].slice(0, 4)).toEqual([2.5, 4.5, 10.5, 12.5]);
});
