// The fixtures' hash fill, one word a thread: two float16 elements, or one float32.

struct Params { seed: u32, mean: f32, scale: f32, half: u32 }

@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

fn element(i: u32) -> f32 {
  var x = i + params.seed;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  x ^= x >> 16u;
  return params.mean + params.scale * (f32(x >> 8u) / 16777216.0 - 0.5);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = (id.y * grid.x + id.x) * 256u + lane;
  if (word >= arrayLength(&words)) { return; }
  if (params.half != 0u) {
    words[word] = pack2x16float(vec2f(element(2u * word), element(2u * word + 1u)));
  } else {
    words[word] = bitcast<u32>(element(word));
  }
}
