import { expect, test } from 'vitest';
import { BroadcastPeer } from './channel.ts';

test('peers on a broadcast channel hear each other, and nobody else; a closed one drops what it is given', async () => {
  const [near, far] = [new BroadcastChannel('peers'), new BroadcastChannel('peers')];
  const one = new BroadcastPeer(near, 'one', 'two');
  const two = new BroadcastPeer(far, 'two', 'one');
  const three = new BroadcastPeer(far, 'three', 'one');
  const heard: unknown[] = [];
  for (const peer of [two, three]) {
    peer.addEventListener('message', (event) => heard.push(peer, (event as MessageEvent<unknown>).data));
  }
  one.postMessage('hello', []);
  await expect.poll(() => heard).toEqual([two, 'hello']);

  for (const peer of [one, two, three]) peer.close();
  near.close();
  far.close();
  // As comlink does when a proxy is collected.
  one.postMessage('goodbye', []);
  expect(heard).toEqual([two, 'hello']);
});
