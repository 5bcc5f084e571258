import { expect, test } from 'vitest';
import { encodeInvalEntry, encodeInvalInode } from '../../../fs/fuse/kernel/notification.ts';
import { nameFromText } from '../../../fs/name.ts';

/** struct fuse_out_header with the code in place of the error and no request number, then u64 and i64 fields. */
function fields(bytes: Buffer): readonly (number | bigint)[] {
  expect(bytes.readUInt32LE(0)).toBe(bytes.length);
  expect(bytes.readBigUInt64LE(8)).toBe(0n);
  return [bytes.readInt32LE(4), bytes.readBigUInt64LE(16), bytes.readBigInt64LE(24), bytes.readBigInt64LE(32)];
}

test('a range of pages is invalidated by offset and length', () => {
  expect(fields(encodeInvalInode(7, 4096, 8192))).toEqual([2, 7n, 4096n, 8192n]);
});

test('the rest of a file has length 0 for the kernel', () => {
  expect(fields(encodeInvalInode(7, 4096, Infinity))).toEqual([2, 7n, 4096n, 0n]);
});

test('attributes alone have a negative offset for the kernel', () => {
  expect(fields(encodeInvalInode(7, 0, 0))).toEqual([2, 7n, -1n, 0n]);
});

test('a name ends with NUL and its length does not count it', () => {
  expect(encodeInvalEntry(1, nameFromText('ä'), 'gone').readUInt32LE(28)).toBe(0);
  const bytes = encodeInvalEntry(1, nameFromText('ä'));
  expect([bytes.readInt32LE(4), bytes.readUInt32LE(24), bytes.toString('hex', 32)]).toEqual([3, 2, 'c3a400']);
  expect(bytes.readUInt32LE(28)).toBe(1); // FUSE_EXPIRE_ONLY
});
