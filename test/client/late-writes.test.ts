/** A write whose caller was told that it takes too long: it may still happen, but with the bytes that it was given. */
import { expect, test } from 'vitest';
import { Call } from '../../client/call.ts';
import { ClientError } from '../../client/errors.ts';
import { encodeFrame, frameKind, operations, stableHow } from '../../mds/protocol/index.ts';
import { patternOf as pattern } from './pattern.ts';

test('it is sent again as it was, whatever became of the buffer', async () => {
  const buffer = pattern(5000, 1);
  const stateid: [number, Uint8Array] = [1, Buffer.alloc(12)];
  const call = new Call(operations.WRITE, [stateid, 0, stableHow.unstable, buffer], { timeoutMs: 60_000 });
  const { number } = call.operation;
  call.frame = [frameKind.request, 1, Buffer.alloc(16), 0, 1, true, number, call.args, null];
  const first = Buffer.from(encodeFrame(call.frame));
  call.fail(new ClientError('TIMEOUT', 'no reply'));
  await expect(call.result).rejects.toMatchObject({ status: 'TIMEOUT' });
  buffer.fill(0xee);
  expect(first.equals(encodeFrame(call.frame))).toBe(true);
});
