import type { JSX } from 'preact';

/**
 * The sheet before its picture: a wash of silver salts brushed over paper, uneven at the edges, that darkens with
 * the exposure.
 */
export function Coat({ exposure, busy }: { exposure: number; busy: boolean }): JSX.Element {
  return (
    <svg
      class={busy ? 'coat busy' : 'coat'}
      viewBox="0 0 400 400"
      preserveAspectRatio="none"
      aria-hidden="true"
      style={{ '--exposure': String(exposure) }}
    >
      <filter id="brush" x="-10%" y="-10%" width="120%" height="120%">
        <feTurbulence type="fractalNoise" baseFrequency="0.008 0.05" numOctaves="4" seed="11" result="strokes" />
        <feDisplacementMap in="SourceGraphic" in2="strokes" scale="38" result="edge" />
        <feColorMatrix in="strokes" type="matrix" values="0 0 0 0 0  0 0 0 0 0  0 0 0 0 0  0.9 0.5 0 0 0.22" result="cover" />
        <feComposite in="edge" in2="cover" operator="in" />
      </filter>
      <filter id="grain" x="0" y="0" width="100%" height="100%">
        <feTurbulence type="fractalNoise" baseFrequency="0.55" numOctaves="2" seed="4" />
        <feColorMatrix type="matrix" values="0 0 0 0 0  0 0 0 0 0  0 0 0 0 0  1.6 0 0 0 -0.62" />
        <feComposite in2="SourceAlpha" operator="in" />
      </filter>
      <rect class="salts" x="26" y="26" width="348" height="348" filter="url(#brush)" />
      <g class="exposed">
        <rect class="silver" x="34" y="34" width="332" height="332" filter="url(#brush)" />
        <rect class="grain" x="40" y="40" width="320" height="320" filter="url(#grain)" />
      </g>
    </svg>
  );
}
