// Adds a tile to a picture, each pixel times the weights of its row and its column. Tiles follow one another on the queue.
// Prelude provides: WORKGROUP; accessors tile_, rows_, columns_ (read); picture (array<vec4f>, written); params.

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(id, grid) * WORKGROUP + lane;
  if (i >= 3u * params.tileHeight * params.tileWidth) { return; }
  let x = i % params.tileWidth;
  let y = (i / params.tileWidth) % params.tileHeight;
  let c = i / (params.tileWidth * params.tileHeight);
  let weight = rows_load(params.rowsFirst + y) * columns_load(params.columnsFirst + x);
  let at = (c * params.height + params.top + y) * params.width + params.left + x;
  picture[at >> 2u][at & 3u] += weight * tile_load(i);
}
