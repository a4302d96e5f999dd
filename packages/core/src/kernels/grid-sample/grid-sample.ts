import type { Lowering } from '../../plan/lowering.ts';
import type { TensorView } from '../../plan/plan.ts';
import { rowMajor } from '../../plan/view.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { decodeCode, mergedDimensions, movesInFours } from '../dimensions.ts';
import { epilogueCode, type EpilogueViews } from '../elementwise/epilogue.ts';
import { i32, u32, type Param } from '../shader.ts';
import helpers from './grid_sample.wgsl';

const WORKGROUP = 256;

export interface GridSampleTask {
  /** [N, C, …], any view. */
  x: TensorView;
  /** [N, …, r]: for each element of the result its place in the picture, innermost axis first, each from -1 to 1. */
  grid: TensorView;
  /** [N, C, …], dense in some order. */
  y: TensorView;
  mode: 'nearest' | 'linear' | 'cubic';
  padding: 'zeros' | 'border' | 'reflection';
  alignCorners: boolean;
  epilogue: EpilogueViews | undefined;
}

const modes = ['nearest', 'linear', 'cubic'];
const paddings = ['zeros', 'border', 'reflection'];

/** Emits one dispatch; each thread makes four neighbouring elements of `y`, in channels-last memory with vec4 loads. */
export function gridSample(lowering: Lowering, task: GridSampleTask): void {
  const { x, grid, y } = task;
  const rank = x.shape.length;
  const spatial = rowMajor(rank).slice(2);
  // The picture is walked along samples and channels only, the grid along samples and its own axes.
  const picture = x.strides.map((stride, axis) => (axis < 2 ? stride : 0));
  const places = grid.strides.slice(0, -1);
  const dimensions = mergedDimensions(y, [picture, [places[0]!, 0, ...places.slice(1)]], () => false);
  const vector = movesInFours(x, dimensions) && spatial.every((axis) => x.strides[axis]! % 4 === 0);
  const decode = decodeCode(dimensions);
  const params: Record<string, Param> = {
    elements: u32(sizeOf(y.shape)),
    x_offset: u32(x.offset),
    grid_offset: u32(grid.offset),
    grid_stride: u32(grid.strides.at(-1)!),
    ...decode.params,
  };
  let code = '';
  dimensions.forEach(({ strides }, k) => {
    params[`s${k}`] = u32(strides[0]! >>> 0);
    params[`g${k}`] = u32(strides[1]! >>> 0);
    code += `start += c${k} * params.s${k};\nplace += c${k} * params.g${k};\n`;
  });
  const taps = [1, 2, 4][modes.indexOf(task.mode)]!;
  let position = 'start';
  let weight = '1.0';
  for (const axis of spatial) {
    params[`n${axis}`] = i32(x.shape[axis]!);
    params[`t${axis}`] = u32(x.strides[axis]! >>> 0);
    // The last component is the first spatial axis.
    const component = rank - 1 - axis;
    code += `let x${axis} = coordinate(grid_load(place + ${component}u * params.grid_stride), f32(params.n${axis}));
for (var k${axis} = 0; k${axis} < ${taps}; k${axis}++) {
let p${axis} = first_tap(x${axis}) + k${axis};
let w${axis} = ${weight} * tap_weight(k${axis}, x${axis} - floor(x${axis})) * tap_factor(p${axis}, params.n${axis});
let o${axis} = ${position} + tap_index(p${axis}, params.n${axis}) * params.t${axis};\n`;
    [position, weight] = [`o${axis}`, `w${axis}`];
  }
  const epilogue = epilogueCode(task.epilogue, y);
  const four = vector ? 'sample(i)' : 'vec4f(sample(i), sample(i + 1u), sample(i + 2u), sample(i + 3u))';
  lowering.dispatch({
    name: `grid_sample_${task.mode}`,
    inputs: { x, grid, ...epilogue.inputs },
    outputs: { y },
    params: { ...params, ...epilogue.params },
    aliases: { Value: vector ? 'vec4f' : 'f32' },
    constants: {
      WORKGROUP,
      MODE: modes.indexOf(task.mode),
      PADDING: paddings.indexOf(task.padding),
      ALIGN_CORNERS: task.alignCorners,
    },
    functions: `${helpers}\n${epilogue.functions}
fn sample(i: u32) -> Value {
${decode.code}var start = params.x_offset;
var place = params.grid_offset;
var sum = Value(0.0);
${code}sum += ${weight} * x_load${vector ? '4' : ''}(${position});
${'}'.repeat(spatial.length)}
return sum;
}`,
    body: `
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) grid_size: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = 4u * (flat_workgroup(id, grid_size) * WORKGROUP + thread);
  if (i >= params.elements) { return; }
  y_store4(i, epilogue(${four}, i));
}`,
    workgroups: Math.ceil(sizeOf(y.shape) / (4 * WORKGROUP)),
    work: { flops: sizeOf(y.shape) * 2 * taps ** spatial.length },
  });
}
