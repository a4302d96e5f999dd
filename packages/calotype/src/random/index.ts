export { NoiseSource, type NoiseOptions } from './noise-source.ts';
export { TorchGenerator } from './torch-generator.ts';
