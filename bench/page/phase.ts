/** Says what the page is at. */
export function at(phase: string): void {
  globalThis.calotypeBench.phase = phase;
}
