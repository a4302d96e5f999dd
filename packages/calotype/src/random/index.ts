export { TorchGenerator } from './torch-generator.ts';
