import type { Page } from '../playwright.ts';

/** The largest JavaScript heap seen so far: V8's own objects and what array buffers hold. */
export interface HeapWatch {
  peakBytes: number;
  samples: number;
  stop(): void;
}

interface Attached {
  sessionId: string;
  targetInfo: { type: string };
}

/** Watches the heap of a page's workers through the DevTools protocol. Call before they start. */
export async function watchWorkers(page: Page, everyMs = 50): Promise<HeapWatch> {
  const session = await page.context().newCDPSession(page);
  const workers = new Set<string>();
  const watch: HeapWatch = { peakBytes: 0, samples: 0, stop: () => clearInterval(timer) };
  session.on('Target.attachedToTarget', ({ sessionId, targetInfo }: Attached) => {
    if (targetInfo.type === 'worker') workers.add(sessionId);
  });
  session.on('Target.receivedMessageFromTarget', ({ message }: { message: string }) => {
    const { result } = JSON.parse(message) as { result?: Record<string, number> };
    if (result?.['usedSize'] === undefined) return;
    if (result['backingStorageSize'] === undefined)
      throw new Error('this Chromium does not tell array buffers');
    watch.samples++;
    watch.peakBytes = Math.max(watch.peakBytes, result['usedSize'] + result['backingStorageSize']);
  });
  // Not flattened: Playwright gives no session for what it did not attach to itself.
  await session.send('Target.setAutoAttach', {
    autoAttach: true,
    waitForDebuggerOnStart: false,
    flatten: false,
  });
  let id = 0;
  const timer = setInterval(() => {
    for (const sessionId of workers) {
      const message = JSON.stringify({ id: ++id, method: 'Runtime.getHeapUsage' });
      session
        .send('Target.sendMessageToTarget', { sessionId, message })
        .catch(() => workers.delete(sessionId));
    }
  }, everyMs);
  return watch;
}
