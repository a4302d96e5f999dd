import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

/** The picture so far, where the runtime sends it while denoising. */
export function Preview({ image }: { image: ImageBitmap | undefined }): JSX.Element | null {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    // A closed bitmap has no width: the next one is on its way.
    if (!image?.width || !canvas.current) return;
    canvas.current.width = image.width;
    canvas.current.height = image.height;
    canvas.current.getContext('2d')?.drawImage(image, 0, 0);
  }, [image]);
  return image ? <canvas ref={canvas} class="preview" aria-hidden="true" /> : null;
}
