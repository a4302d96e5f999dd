/** Keeps the page and its model for use without a network, where the browser can. */
export function keepOffline(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  navigator.serviceWorker.register('./service-worker.js').then(
    async () => {
      await navigator.serviceWorker.ready;
      document.documentElement.dataset['offline'] = 'ready';
    },
    // Without it the page works as long as there is a network.
    () => {},
  );
}
