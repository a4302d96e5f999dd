// Reduces some axes of a view in any layout. LANES threads share one item: an output element, or four neighbouring ones
// where those lie next to each other in the operand too. A unit is what a thread reads at once: one element, four of
// the reduced axes, or one for each of the item's four.
//
// Prelude: alias Value, what is accumulated for an item; initial() -> Value; item_start(item) -> u32, where its elements
// start; fetch(start, unit) -> Value; combine(a, b); put(i, v) stores item i's result;
// const WORKGROUP, LANES, ITEMS (WORKGROUP / LANES), NEIGHBOURS (neighbouring threads take neighbouring items, not
// lanes); params: items, units (of an item), chunks, chunk_units. Chunk c's results are items c * items on.

var<workgroup> memory: array<Value, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(id, grid);
  let chunk = flat % params.chunks;
  let own = select(thread / LANES, thread % ITEMS, NEIGHBOURS);
  let lane = select(thread % LANES, thread / ITEMS, NEIGHBOURS);
  let item = flat / params.chunks * ITEMS + own;
  // Surplus threads repeat the last item without storing: all of them must reach the barriers.
  let start = item_start(min(item, params.items - 1u));
  let end = min((chunk + 1u) * params.chunk_units, params.units);

  var v = initial();
  var unit = chunk * params.chunk_units + lane;
  for (; unit + 3u * LANES < end; unit += 4u * LANES) {
    let a = fetch(start, unit);
    let b = fetch(start, unit + LANES);
    let c = fetch(start, unit + 2u * LANES);
    let d = fetch(start, unit + 3u * LANES);
    v = combine(v, combine(combine(a, b), combine(c, d)));
  }
  for (; unit < end; unit += LANES) { v = combine(v, fetch(start, unit)); }

  if (LANES > 1u) {
    let slot = lane * ITEMS + own;
    memory[slot] = v;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (lane < half) { memory[slot] = combine(memory[slot], memory[slot + half * ITEMS]); }
    }
    v = memory[slot];
  }
  if (lane == 0u && item < params.items) { put(chunk * params.items + item, v); }
}
