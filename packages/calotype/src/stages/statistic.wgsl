// Which of an autoencoder's statistics belongs to an element of an image's latents: its channel's, or where there is
// one for each place of a patch (patchSize > 1), that.
fn statistic(i: u32, width: u32, plane: u32, statistics: u32, patchSize: u32) -> u32 {
  let position = i % plane;
  let place = (position / width % patchSize) * patchSize + position % width % patchSize;
  return min((i / plane) * patchSize * patchSize + place, statistics - 1u);
}
