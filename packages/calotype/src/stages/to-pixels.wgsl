// [3, pixels] to RGBA8, one word a pixel. Scale and shift bring black to 0 and white to 1.
// Sets `fault` to 1 where an element is no finite number, which a picture would hide.
// Prelude provides: WORKGROUP; accessors planes_ (read), pixels_, fault_ (write); params.

fn channel(c: u32, i: u32) -> u32 {
  // As diffusers: clip to 0…1, times 255, rounded to even.
  let raw = planes_load(c * params.pixels + i);
  if ((bitcast<u32>(raw) & 0x7f800000u) == 0x7f800000u) { fault_store(0u, 1u); }
  let value = clamp(raw * params.scale + params.shift, 0.0, 1.0);
  return u32(round(value * 255.0));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= params.pixels) { return; }
  let rgba = channel(0u, i) | (channel(1u, i) << 8u) | (channel(2u, i) << 16u) | 0xff000000u;
  pixels_store(i, rgba);
}
