/** A span of time in words as short as they stay exact enough. */
export function duration(ms: number): string {
  if (ms < 995) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** Bytes in megabytes. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** `dpm++-2m-karras` as people write it: DPM++ 2M Karras. */
export function samplerLabel(name: string): string {
  return name
    .split('-')
    .map((word) =>
      /^(dpm|ddim|ddpm|pndm|lms|lcm|tcd|deis|sde|sa|kdpm|unipc|\d)/.test(word) && word !== 'sampler'
        ? word.toUpperCase().replace('UNIPC', 'UniPC')
        : word.charAt(0).toUpperCase() + word.slice(1),
    )
    .join(' ');
}
