import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { AssertionFailure } from '../../fs/errors.ts';
import * as keys from '../../fs/format/keys.ts';
import { type Name, nameFromBytes } from '../../fs/name.ts';

const number = fc.oneof(fc.maxSafeNat(), fc.nat(300), fc.constantFrom(2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER));
const name: fc.Arbitrary<Name> = fc
  .uint8Array({ minLength: 1, maxLength: 255 })
  .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x2e : byte)))
  .map(nameFromBytes);
const hex = (key: Uint8Array) => Buffer.from(key).toString('hex');
const within = (key: Uint8Array, range: keys.KeyRange) =>
  Buffer.compare(key, range.from) >= 0 && Buffer.compare(key, range.to) < 0;
const damage = expect.objectContaining({ code: 'EUCLEAN' });

test.prop([number, number, name])('every key gives back what it was made of', (a, b, n) => {
  expect(keys.parseInodeKey(keys.inodeKey(a))).toEqual({ ino: a });
  expect(keys.parseDentryKey(keys.dentryKey(a, n))).toEqual({ parent: a, name: n });
  expect(keys.parseExtentKey(keys.extentKey(a, b))).toEqual({ ino: a, fileBlock: b });
  expect(keys.parseXattrKey(keys.xattrKey(a, n))).toEqual({ ino: a, name: n });
  expect(keys.parseOrphanKey(keys.orphanKey(a))).toEqual({ ino: a });
  expect(keys.parseClientKey(keys.clientKey(a))).toEqual({ clientId: a });
  expect(keys.parseProvisionalKey(keys.provisionalKey(a, b))).toEqual({ ino: a, fileBlock: b });
  expect(keys.parseHoldKey(keys.holdKey(a, b))).toEqual({ block: a, clientId: b });
  expect(keys.parseGrantKey(keys.grantKey(a, b))).toEqual({ clientId: a, ino: b });
  expect(keys.parseBadKey(keys.badKey(a))).toEqual({ block: a });
  expect(keys.parseCutKey(keys.cutKey(a))).toEqual({ ino: a });
  expect(keys.parseQuotaKey(keys.quotaKey(a))).toEqual({ id: a });
});

test('the bytes of the keys are those of docs/format.md', () => {
  expect(hex(keys.inodeKey(1))).toBe('490000000000000001');
  expect(hex(keys.dentryKey(1, nameFromBytes(Uint8Array.of(0xff, 0x61))))).toBe('440000000000000001ff61');
  expect(hex(keys.extentKey(2 ** 32 + 5, 2 ** 53 - 1))).toBe('450000000100000005001fffffffffffff');
  expect(hex(keys.xattrKey(2, 'user.a'))).toBe('580000000000000002757365722e61');
  expect(hex(keys.orphanKey(3))).toBe('4f0000000000000003');
  expect(hex(keys.clientKey(4))).toBe('430000000000000004');
  expect(hex(keys.provisionalKey(5, 6))).toBe('5000000000000000050000000000000006');
  expect(hex(keys.holdKey(7, 8))).toBe('5100000000000000070000000000000008');
  expect(hex(keys.grantKey(8, 7))).toBe('4700000000000000080000000000000007');
  expect(hex(keys.countsKey())).toBe('4e');
  expect(hex(keys.badKey(9))).toBe('420000000000000009');
  expect(hex(keys.cutKey(9))).toBe('540000000000000009');
  expect(hex(keys.quotaKey(9))).toBe('550000000000000009');
  expect(hex(keys.storeKey())).toBe('53');
});

test.prop([number, number, number, number])('the order of keys is the order of their numbers', (a, b, c, d) => {
  const byNumbers = Math.sign(a - c) || Math.sign(b - d);
  expect(Buffer.compare(keys.extentKey(a, b), keys.extentKey(c, d))).toBe(byNumbers);
});

test.prop([number, number, number, name])(
  'the range of an inode holds its keys and no others',
  (ino, other, block, n) => {
    expect(within(keys.extentKey(other, block), keys.extentRange(ino))).toBe(other === ino);
    expect(within(keys.dentryKey(other, n), keys.dentryRange(ino))).toBe(other === ino);
    expect(within(keys.xattrKey(other, n), keys.xattrRange(ino))).toBe(other === ino);
    expect(within(keys.provisionalKey(other, block), keys.provisionalRange(ino))).toBe(other === ino);

    const all = [
      [keys.inodeRange(), keys.inodeKey(ino)],
      [keys.dentryRange(), keys.dentryKey(ino, n)],
      [keys.extentRange(), keys.extentKey(ino, block)],
      [keys.xattrRange(), keys.xattrKey(ino, n)],
      [keys.orphanRange(), keys.orphanKey(ino)],
      [keys.badRange(), keys.badKey(ino)],
      [keys.clientRange(), keys.clientKey(ino)],
      [keys.cutRange(), keys.cutKey(ino)],
      [keys.provisionalRange(), keys.provisionalKey(ino, block)],
      [keys.holdRange(), keys.holdKey(ino, block)],
      [keys.grantRange(), keys.grantKey(block, ino)],
      [keys.quotaRange(), keys.quotaKey(ino)],
    ] as const;
    for (const [i, [range]] of all.entries()) {
      for (const [j, [, key]] of all.entries()) expect(within(key, range)).toBe(i === j);
    }
  },
);

test.each([
  ['an inode key cut short', () => keys.parseInodeKey(keys.inodeKey(5).subarray(0, 8))],
  ['an inode key with more behind', () => keys.parseInodeKey(keys.extentKey(5, 6))],
  ['an extent key cut short', () => keys.parseExtentKey(keys.extentKey(5, 6).subarray(0, 16))],
  ['an extent key with more behind', () => keys.parseExtentKey(Buffer.concat([keys.extentKey(5, 6), Buffer.alloc(1)]))],
  ['a key of another kind', () => keys.parseInodeKey(keys.orphanKey(5))],
  ['a number past 2^53 - 1', () => keys.parseInodeKey(Buffer.from('490020000000000000', 'hex'))],
  [
    'a second number past 2^53 - 1',
    () => keys.parseExtentKey(Buffer.from('4500000000000000010020000000000000', 'hex')),
  ],
  ['an entry without a name', () => keys.parseDentryKey(keys.dentryRange(5).from)],
  ['an entry with a slash', () => keys.parseDentryKey(Buffer.concat([keys.dentryRange(5).from, Buffer.from('a/b')]))],
  [
    'an entry of 256 bytes',
    () => keys.parseDentryKey(Buffer.concat([keys.dentryRange(5).from, Buffer.alloc(256, 65)])),
  ],
  ['an attribute without a name', () => keys.parseXattrKey(keys.xattrRange(5).from)],
  ['nothing at all', () => keys.parseHoldKey(new Uint8Array(0))],
])('%s is damage', (_, parse) => {
  expect(parse).toThrow(damage);
});

test.prop([fc.uint8Array({ maxLength: 300 })])('any bytes parse or are damage, and can be described', (key) => {
  const parsers = [
    keys.parseInodeKey,
    keys.parseDentryKey,
    keys.parseExtentKey,
    keys.parseXattrKey,
    keys.parseOrphanKey,
    keys.parseClientKey,
    keys.parseProvisionalKey,
    keys.parseHoldKey,
    keys.parseQuotaKey,
  ];
  for (const parse of parsers) {
    try {
      parse(key);
    } catch (error) {
      expect(error).toEqual(damage);
    }
  }
  expect(keys.describeKey(key)).not.toBe('');
});

test('a message names a key by its letter and numbers', () => {
  expect(keys.describeKey(keys.extentKey(12, 7))).toBe('E 12 7');
  expect(keys.describeKey(keys.dentryKey(1, nameFromBytes(Buffer.from('é'))))).toBe('D 1 "é"');
  expect(keys.describeKey(Uint8Array.of(1, 2))).toBe('0x0102');
});

test.each([-1, 0.5, 2 ** 53, Number.NaN])('%d makes no key', (n) => {
  expect(() => keys.inodeKey(n)).toThrow(AssertionFailure);
});
