export { applyStep, initialState, packedHeader, packPlan } from './apply.ts';
export type { PackedPlan, SamplerState } from './apply.ts';
export { ConfigReader } from './config.ts';
export { flux2Shift } from './flow-schedule.ts';
export { combine, PlanBuilder } from './linear.ts';
export type { StepUpdate } from './linear.ts';
export { createSampler, registerSampler, samplerNames, samplerNamesFor } from './registry.ts';
export { unknownFields } from './names.ts';
export { columns } from './types.ts';
export type {
  NoiseMix,
  PredictionType,
  Row,
  Sampler,
  SamplerDefinition,
  SamplerOptions,
  SamplerPlan,
  SamplerStep,
  SchedulerConfig,
} from './types.ts';
