import type { JSX } from 'preact';

/** How much is done, 0 to 1; `undefined` where that cannot be told. */
export function Meter({ label, fraction }: { label: string; fraction: number | undefined }): JSX.Element {
  const percent = fraction === undefined ? undefined : Math.round(fraction * 100);
  return (
    <div
      class={percent === undefined ? 'meter unsure' : 'meter'}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(percent !== undefined && { 'aria-valuenow': percent })}
    >
      <div style={{ transform: `scaleX(${(percent ?? 100) / 100})` }} />
    </div>
  );
}
