import { expect, test } from 'vitest';
import { fakeDevice } from '../../test/fake-device.ts';
import { OutOfMemoryError } from '../errors.ts';
import { BufferPool } from './buffer-pool.ts';

test('a released buffer is given out again for the same size', () => {
  const pool = new BufferPool(fakeDevice());
  const first = pool.acquire(64, 'a');
  pool.release(first);
  expect(pool.acquire(32, 'b')).not.toBe(first);
  expect(pool.acquire(64, 'c')).toBe(first);
  expect(pool).toMatchObject({ created: 2, bytes: 96, liveBytes: 96, liveBuffers: 2 });
});

test('releasing twice gives it out once', () => {
  const pool = new BufferPool(fakeDevice());
  const buffer = pool.acquire(16, 'a');
  pool.release(buffer);
  pool.release(buffer);
  expect(pool.acquire(16, 'b')).toBe(buffer);
  expect(pool.acquire(16, 'c')).not.toBe(buffer);
});

test('the budget frees idle buffers before it refuses', () => {
  const device = fakeDevice();
  const pool = new BufferPool(device, 100);
  pool.release(pool.acquire(64, 'idle'));
  pool.acquire(80, 'more');
  expect(pool).toMatchObject({ bytes: 80, peakBytes: 80 });
  expect(() => pool.acquire(32, 'too much')).toThrow(OutOfMemoryError);
  expect(device.live.size).toBe(1);
});

test('a limit lowered below what is there frees idle buffers first, and refuses until enough has come back', () => {
  const device = fakeDevice();
  const pool = new BufferPool(device);
  const [first, second] = [pool.acquire(64, 'first'), pool.acquire(32, 'second')];
  pool.limitBytes = 70;
  pool.release(first);
  expect(() => pool.acquire(64, 'again')).toThrow(/64 bytes asked for, 38 available in a memoryBudget of 70/);
  expect(pool.acquire(16, 'small')).not.toBe(first);
  expect(pool).toMatchObject({ bytes: 48, liveBytes: 48 });
  pool.release(second);
  expect(pool.acquire(32, 'within')).toBe(second);
  pool.limitBytes = Infinity;
  pool.acquire(64, 'again');
  expect(device.live.size).toBe(3);
});

test('a buffer beyond what the device can bind is refused at once', () => {
  const pool = new BufferPool(fakeDevice());
  expect(() => pool.acquire(2 ** 30 + 16, 'huge')).toThrow(/'huge'.*1073741840 bytes/);
});

test('an allocation that the device refuses later leaves nothing behind', async () => {
  const device = fakeDevice();
  device.capacity = 100;
  const pool = new BufferPool(device);
  const good = pool.acquire(64, 'good');
  const bad = pool.acquire(64, 'bad');
  await expect(pool.settled([good])).resolves.toBeUndefined();
  expect(pool).toMatchObject({ bytes: 64, liveBuffers: 1 });
  // The device has answered long before its owner asks.
  await expect(pool.settled([bad])).rejects.toThrow(OutOfMemoryError);
  await expect(pool.settled()).resolves.toBeUndefined();
});

test('a refused buffer that was released meanwhile is not given out again', async () => {
  const device = fakeDevice();
  device.capacity = 100;
  const pool = new BufferPool(device);
  pool.acquire(64, 'good');
  const bad = pool.acquire(64, 'bad');
  pool.release(bad);
  await expect(pool.settled()).resolves.toBeUndefined();
  device.capacity = Infinity;
  expect(pool.acquire(64, 'again')).not.toBe(bad);
  expect(pool.bytes).toBe(128);
});

test('only those who wait for a refused buffer hear of it', async () => {
  const device = fakeDevice();
  device.capacity = 100;
  const pool = new BufferPool(device);
  const mine = pool.acquire(64, 'mine');
  const theirs = pool.acquire(64, 'theirs');
  const [first, second] = await Promise.allSettled([pool.settled([mine]), pool.settled([theirs])]);
  expect(first.status).toBe('fulfilled');
  expect(second).toMatchObject({ status: 'rejected', reason: { requestedBytes: 64 } });
});
