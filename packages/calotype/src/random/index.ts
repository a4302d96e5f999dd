export { NoiseSource } from './noise-source.ts';
export { TorchGenerator } from './torch-generator.ts';
