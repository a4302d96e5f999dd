/** Something to begin with: a red disc on blue. */
export function disc(size: number, colours: { disc: string; ground: string }): OffscreenCanvas {
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext('2d')!;
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, size, size);
  context.fillStyle = colours.disc;
  context.beginPath();
  context.arc(size / 2, size / 2, size / 3, 0, 2 * Math.PI);
  context.fill();
  return canvas;
}
