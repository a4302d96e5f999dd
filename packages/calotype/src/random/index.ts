export { MersenneTwister } from './mt19937.ts';
export { TorchGenerator } from './torch-generator.ts';
