import type { JSX } from 'preact';

/**
 * The sheet before its picture: a wash of silver salts brushed over paper, in which silver shows as the exposure
 * (0 to 1) grows. Two layers whose opacity changes, which costs no painting: the processor may be busy denoising.
 */
export function Coat({ exposure }: { exposure: number }): JSX.Element {
  return (
    <div class="coat" aria-hidden="true">
      <div class="salts" />
      <div class="silver" style={{ opacity: exposure }} />
    </div>
  );
}
