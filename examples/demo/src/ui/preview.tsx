import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { preview } from '../state/run.ts';

/** The picture so far, where the runtime sends it while denoising. */
export function Preview(): JSX.Element | null {
  const canvas = useRef<HTMLCanvasElement>(null);
  const image = preview.value;
  useEffect(() => {
    if (!image || !canvas.current) return;
    canvas.current.width = image.width;
    canvas.current.height = image.height;
    canvas.current.getContext('2d')?.drawImage(image, 0, 0);
  }, [image]);
  return image ? <canvas ref={canvas} class="preview" aria-hidden="true" /> : null;
}
