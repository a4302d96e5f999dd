import { Engine, type ShaderError, type Storage } from '@calotype/core';
import { expect, test } from 'vitest';
import { describeBrowsers, nullDevice, refusalOf } from '../../core/test/null-device.ts';
import { kernelInputs, kernelNames, StageKernels } from '../src/stages/kernels.ts';

// The stages' own kernels as real cards compile them, between models whose outputs are f16 or f32.

await describeBrowsers(({ capabilities, precision }) => {
  const storages: Storage[] = precision === 'f32' ? ['f32'] : ['f32', 'f16'];

  test.each(storages)('takes all kernels of the stages on %s', async (storage) => {
    const device = await nullDevice(capabilities);
    const engine = await Engine.create({ device, precision });
    const kernels = new StageKernels(engine);
    const refusals = await Promise.all(
      kernelNames.map(async (name) => {
        const inputs = kernelInputs(name).map((input) => [input, storage]);
        const compiled = kernels.get(name, Object.fromEntries(inputs) as Record<string, Storage>);
        return compiled.then(
          () => [],
          (error) => [refusalOf(error as ShaderError)],
        );
      }),
    );
    expect(refusals.flat()).toEqual([]);
    engine.dispose();
    device.destroy();
  });
});
