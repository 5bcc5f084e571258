import { fc, test } from '@fast-check/vitest';
import { pack } from 'msgpackr';
import { describe, expect } from 'vitest';
import { AssertionFailure } from '../../fs/errors.ts';
import * as codec from '../../fs/format/codec.ts';
import * as keys from '../../fs/format/keys.ts';
import type {
  ClientRecord,
  CutRecord,
  DentryRecord,
  ExtentRecord,
  HoldRecord,
  InodeRecord,
  ProvisionalRecord,
  QuotaRecord,
  StoreRecord,
} from '../../fs/format/records.ts';
import { limits } from '../../fs/limits.ts';
import { nameFromText } from '../../fs/name.ts';

const safe = fc.oneof(fc.maxSafeNat(), fc.nat(100), fc.constantFrom(2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER));
const u32 = fc.nat(0xffff_ffff);
const positive = safe.map((n) => Math.max(n, 1));
const types = fc.constantFrom(0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000);
const time = fc.record({ sec: fc.maxSafeInteger(), nsec: fc.nat(999_999_999) });
const blocks = fc
  .tuple(fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 1, max: 2 ** 40 }))
  .map(([block, length]) => ({ device: 0, block, length }));

const inodes: fc.Arbitrary<InodeRecord> = fc.record({
  ino: positive,
  mode: fc.tuple(types, fc.nat(0o7777)).map(([type, bits]) => type | bits),
  uid: u32,
  gid: u32,
  nlink: u32,
  size: fc.maxSafeNat().map((n) => Math.min(n, limits.fileSizeMax)),
  rdev: fc.oneof(fc.constant(0), u32),
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
  change: safe,
  flags: u32,
  parent: fc.oneof(fc.constant(0), safe),
  target: fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ maxLength: limits.symlinkMax })),
  quota: fc.oneof(fc.constant(0), positive),
});
const dentries: fc.Arbitrary<DentryRecord> = fc.record({
  ino: positive,
  type: types,
  cookie: safe.map((n) => Math.max(n, 3)),
});
const extents: fc.Arbitrary<ExtentRecord> = fc.tuple(blocks, fc.nat(3)).map(([b, flags]) => ({ ...b, flags }));
const clients: fc.Arbitrary<ClientRecord> = fc.record({
  clientId: safe,
  owner: fc.uint8Array({ minLength: 1, maxLength: 1024 }),
  verifier: fc.uint8Array({ maxLength: 64 }),
  since: safe,
  uid: fc.nat(0xffff_ffff),
  leaseMs: fc.nat(0xffff_ffff),
  ioMaxMs: fc.nat(0xffff_ffff),
  boot: fc.uint8Array({ maxLength: 64 }),
  process: fc.uint8Array({ maxLength: 256 }),
});
const provisional: fc.Arbitrary<ProvisionalRecord> = fc
  .tuple(blocks, safe)
  .map(([b, clientId]) => ({ ...b, clientId }));
const holds: fc.Arbitrary<HoldRecord> = fc.record({
  device: fc.constant(0),
  length: fc.integer({ min: 1, max: 2 ** 40 }),
  access: fc.constantFrom('read', 'write'),
  since: safe,
});
const fileBlocks = fc.integer({ min: 0, max: limits.fileSizeMax / limits.blockSize });
const cuts: fc.Arbitrary<CutRecord> = fc
  .tuple(positive, fileBlocks, fileBlocks)
  .filter(([, a, b]) => a !== b)
  .map(([ino, a, b]) => ({ ino, from: Math.min(a, b), to: Math.max(a, b) }));
const limit = fc.oneof(fc.constant(Infinity), positive);
const quotas: fc.Arbitrary<QuotaRecord> = fc.record({
  id: positive,
  root: positive,
  blocksMax: limit,
  inodesMax: limit,
  blocks: safe,
  inodes: safe,
});
const stores: fc.Arbitrary<StoreRecord> = fc.record({
  formatVersion: positive.map((n) => Math.min(n, 0xffff_ffff)),
  uuid: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  generation: fc.constant(Number.MAX_SAFE_INTEGER),
  superblockGeneration: safe,
  nextIno: positive,
  nextClientId: safe,
  reserve: fc.oneof(fc.constant(0), fc.nat(limits.reserveMax)),
});

describe('what was encoded decodes to the same', () => {
  test.prop([inodes])('inode', (r) => {
    expect(codec.decodeInode(keys.inodeKey(r.ino), codec.encodeInode(r))).toEqual(r);
  });
  test.prop([dentries])('dentry', (r) => {
    expect(codec.decodeDentry(keys.dentryKey(1, nameFromText('a')), codec.encodeDentry(r))).toEqual(r);
  });
  test.prop([extents])('extent', (r) => {
    expect(codec.decodeExtent(keys.extentKey(1, 0), codec.encodeExtent(r))).toEqual(r);
  });
  test.prop([fc.uint8Array({ maxLength: 70_000, size: 'max' })], { numRuns: 10 })('extended attribute', (bytes) => {
    const value = bytes.subarray(0, limits.xattrValueMax);
    expect(codec.decodeXattr(keys.xattrKey(1, 'user.a'), codec.encodeXattr(value))).toEqual(value);
  });
  test.prop([positive])('orphan', (ino) => {
    expect(codec.decodeOrphan(keys.orphanKey(ino), codec.encodeOrphan())).toEqual({ ino });
  });
  test.prop([clients])('client', (r) => {
    expect(codec.decodeClient(keys.clientKey(r.clientId), codec.encodeClient(r))).toEqual(r);
  });
  test.prop([provisional])('provisional blocks', (r) => {
    expect(codec.decodeProvisional(keys.provisionalKey(1, 0), codec.encodeProvisional(r))).toEqual(r);
  });
  test.each(['read', 'write'] as const)('grant: %s', (access) => {
    expect(codec.decodeGrant(keys.grantKey(1, 2), codec.encodeGrant({ access }))).toEqual({ access });
  });
  test.prop([holds])('hold', (r) => {
    expect(codec.decodeHold(keys.holdKey(1, 0), codec.encodeHold(r))).toEqual(r);
  });
  test.prop([safe, safe])('counts', (generation, count) => {
    const r = { generation, inodes: count };
    expect(codec.decodeCounts(keys.countsKey(), codec.encodeCounts(r))).toEqual(r);
  });
  test.prop([holds])('bad memory', ({ device, length, since }) => {
    const r = { device, length, since };
    expect(codec.decodeBad(keys.badKey(1), codec.encodeBad(r))).toEqual(r);
  });
  test.prop([cuts])('range being cut', (r) => {
    expect(codec.decodeCut(keys.cutKey(r.ino), codec.encodeCut(r))).toEqual(r);
  });
  test.prop([quotas])('quota', (r) => {
    expect(codec.decodeQuota(keys.quotaKey(r.id), codec.encodeQuota(r))).toEqual(r);
  });
  test.prop([stores])('store', (r) => {
    expect(codec.decodeStore(keys.storeKey(), codec.encodeStore(r))).toEqual(r);
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const none = new Uint8Array(0);
const at = { sec: 1_763_600_000, nsec: 123_456_789 };
const file: InodeRecord = {
  ino: 2,
  mode: 0o100644,
  uid: 1000,
  gid: 1000,
  nlink: 1,
  size: 123_456,
  rdev: 0,
  atime: at,
  mtime: at,
  ctime: at,
  btime: at,
  change: 5,
  flags: 0,
  parent: 0,
  target: none,
  quota: 0,
};

describe('the bytes are those of docs/format.md', () => {
  const stamp = 'ce691e6680ce075bcd15'.repeat(4);
  test('a regular file ends with its times, in 58 bytes', () => {
    expect(hex(codec.encodeInode(file))).toBe(`9fcd81a4cd03e8cd03e801ce0001e2400500${stamp}`);
  });
  test('a directory ends with its parent', () => {
    const bytes = hex(codec.encodeInode({ ...file, mode: 0o040755, parent: 1 }));
    expect(bytes).toBe(`dc0010cd41edcd03e8cd03e801ce0001e2400500${stamp}01`);
  });
  test('what counts in a quota ends with its id', () => {
    const bytes = hex(codec.encodeInode({ ...file, quota: 77 }));
    expect(bytes).toBe(`dc0013cd81a4cd03e8cd03e801ce0001e2400500${stamp}0000c4004d`);
  });
  test('a quota without a limit of inodes', () => {
    const quota = { id: 3, root: 16, blocksMax: 256, inodesMax: Infinity, blocks: 5, inodes: 2 };
    expect(hex(codec.encodeQuota(quota))).toBe('9510cd0100000502');
  });
  test('a device node ends with its numbers', () => {
    const bytes = hex(codec.encodeInode({ ...file, mode: 0o020666, rdev: 0x103 }));
    expect(bytes).toBe(`dc0011cd21b6cd03e8cd03e801ce0001e2400500${stamp}00cd0103`);
  });
  test('a symlink ends with its target', () => {
    const bytes = hex(codec.encodeInode({ ...file, mode: 0o120777, target: Buffer.from('/x') }));
    expect(bytes).toBe(`dc0012cda1ffcd03e8cd03e801ce0001e2400500${stamp}0000c4022f78`);
  });
  test('integers past 32 bits are float64', () => {
    expect(hex(codec.encodeDentry({ ino: 2 ** 32, type: 0o100000, cookie: 3 }))).toBe('93cb41f0000000000000cd800003');
  });
  test('the small ones', () => {
    expect(hex(codec.encodeExtent({ device: 0, block: 200, length: 512, flags: 1 }))).toBe('9400ccc8cd020001');
    expect(hex(codec.encodeXattr(Uint8Array.of(1, 2)))).toBe('91c4020102');
    expect(hex(codec.encodeOrphan())).toBe('90');
    expect(
      hex(
        codec.encodeClient({
          clientId: 9,
          owner: Uint8Array.of(7),
          verifier: Uint8Array.of(8),
          since: 1,
          uid: 2,
          leaseMs: 90,
          ioMaxMs: 7,
          boot: Uint8Array.of(5),
          process: Uint8Array.of(9),
        }),
      ),
    ).toBe('98c40107c4010801025a07c40105c40109');
    expect(hex(codec.encodeProvisional({ device: 0, block: 2, length: 3, clientId: 4 }))).toBe('9400020304');
    expect(hex(codec.encodeHold({ device: 0, length: 2, access: 'write', since: 3 }))).toBe('9400020103');
    const uuid = new Uint8Array(16).fill(0xab);
    expect(
      hex(
        codec.encodeStore({
          formatVersion: 1,
          uuid,
          generation: 2,
          superblockGeneration: 1,
          nextIno: 3,
          nextClientId: 4,
          reserve: 0,
        }),
      ),
    ).toBe(`9601c410${'ab'.repeat(16)}02010304`);
  });
  test('64-bit integers of another writer are read too', () => {
    const value = Buffer.from('93cf0000000100000000cf0000000000008000cf0000000000000003', 'hex');
    expect(codec.decodeDentry(keys.dentryKey(1, nameFromText('a')), value)).toEqual({
      ino: 2 ** 32,
      type: 0o100000,
      cookie: 3,
    });
  });
});

/** Every decoder with a key of its kind and the fields of a sound record. */
const decoders = [
  ['inode', codec.decodeInode, keys.inodeKey(2), codec.encodeInode(file)],
  [
    'symlink',
    codec.decodeInode,
    keys.inodeKey(2),
    codec.encodeInode({ ...file, mode: 0o120777, target: Buffer.from('/x') }),
  ],
  [
    'dentry',
    codec.decodeDentry,
    keys.dentryKey(1, nameFromText('a')),
    codec.encodeDentry({ ino: 2, type: 0o100000, cookie: 3 }),
  ],
  [
    'extent',
    codec.decodeExtent,
    keys.extentKey(2, 0),
    codec.encodeExtent({ device: 0, block: 1, length: 1, flags: 0 }),
  ],
  ['xattr', codec.decodeXattr, keys.xattrKey(2, 'user.a'), codec.encodeXattr(Uint8Array.of(1))],
  ['orphan', codec.decodeOrphan, keys.orphanKey(2), codec.encodeOrphan()],
  [
    'client',
    codec.decodeClient,
    keys.clientKey(2),
    codec.encodeClient({
      clientId: 2,
      owner: Uint8Array.of(1),
      verifier: none,
      since: 0,
      uid: 0,
      leaseMs: 0,
      ioMaxMs: 0,
      boot: new Uint8Array(),
      process: none,
    }),
  ],
  [
    'provisional',
    codec.decodeProvisional,
    keys.provisionalKey(2, 0),
    codec.encodeProvisional({ clientId: 1, device: 0, block: 1, length: 1 }),
  ],
  ['grant', codec.decodeGrant, keys.grantKey(1, 2), codec.encodeGrant({ access: 'write' })],
  ['bad memory', codec.decodeBad, keys.badKey(1), codec.encodeBad({ device: 0, length: 1, since: 0 })],
  ['range being cut', codec.decodeCut, keys.cutKey(3), codec.encodeCut({ ino: 3, from: 2, to: 300 })],
  [
    'quota',
    codec.decodeQuota,
    keys.quotaKey(3),
    codec.encodeQuota({ id: 3, root: 2, blocksMax: 5, inodesMax: Infinity, blocks: 1, inodes: 1 }),
  ],
  ['hold', codec.decodeHold, keys.holdKey(1, 2), codec.encodeHold({ device: 0, length: 1, access: 'read', since: 0 })],
  ['counts', codec.decodeCounts, keys.countsKey(), codec.encodeCounts({ generation: 1, inodes: 2 })],
  [
    'store',
    codec.decodeStore,
    keys.storeKey(),
    codec.encodeStore({
      formatVersion: 1,
      uuid: new Uint8Array(16),
      generation: 0,
      superblockGeneration: 0,
      nextIno: 2,
      nextClientId: 1,
      reserve: 5,
    }),
  ],
] as const;

describe.each(decoders)('a hostile %s', (_, decode, key, sound) => {
  const damage = expect.objectContaining({
    code: 'EUCLEAN',
    message: expect.stringContaining(`record ${keys.describeKey(key)} `),
  });
  const soundOrDamage = (value: Uint8Array) => {
    try {
      decode(key, value);
    } catch (error) {
      expect(error).toEqual(damage);
    }
  };

  test.prop([fc.uint8Array({ maxLength: 200 })])('of any bytes decodes or is damage that names its key', soundOrDamage);

  test.prop([fc.nat(sound.length - 1), fc.nat(255), fc.uint8Array({ maxLength: 4 })])(
    'with a byte changed and some added decodes or is damage',
    (index, byte, more) => {
      const value = Buffer.concat([sound, more]);
      value[index] = byte;
      soundOrDamage(value);
    },
  );

  test.prop([fc.nat(sound.length - 1)])('cut short is damage', (length) => {
    expect(() => decode(key, sound.subarray(0, length))).toThrow(damage);
  });

  test('with a field more is damage: it would be lost in the next write', () => {
    const { values } = fieldsOf(sound);
    const full = decode === codec.decodeInode ? [...values, ...[0, 0, none, 0].slice(values.length - 15)] : values;
    expect(() => decode(key, pack([...full, 0]))).toThrow(damage);
  });

  test('that is no array is damage', () => {
    for (const value of [null, 5, 'x', { length: 4 }, new Map(), Uint8Array.of(1)]) {
      expect(() => decode(key, pack(value))).toThrow(damage);
    }
  });

  test('with a field of another type is damage', () => {
    const { values } = fieldsOf(sound);
    for (const index of values.keys()) {
      for (const wrong of [null, true, 'x', -1.5, Number.NaN, 2 ** 60, [1], { a: 1 }]) {
        expect(() => decode(key, pack(values.with(index, wrong)))).toThrow(damage);
      }
    }
  });

  test('leaves the decoder as it was', () => {
    expect(() => decode(key, Buffer.from('d4724091a161', 'hex'))).toThrow(damage);
    expect(() => decode(key, sound)).not.toThrow();
  });
});

test.each<[string, () => unknown]>([
  ['an inode of no type', () => codec.encodeInode({ ...file, mode: 0o644 })],
  ['a size past the largest file', () => codec.encodeInode({ ...file, size: limits.fileSizeMax + 4096 })],
  ['a second of nanoseconds', () => codec.encodeInode({ ...file, mtime: { sec: 0, nsec: 1e9 } })],
  ['a symlink past PATH_MAX', () => codec.encodeInode({ ...file, target: new Uint8Array(4096) })],
  ['a cookie of the dot entries', () => codec.encodeDentry({ ino: 1, type: 0o040000, cookie: 2 })],
  ['an extent on the superblock', () => codec.encodeExtent({ device: 0, block: 0, length: 1, flags: 0 })],
  ['an extent of nothing', () => codec.encodeExtent({ device: 0, block: 1, length: 0, flags: 0 })],
  ['an extent past all offsets', () => codec.encodeExtent({ device: 0, block: 2 ** 41 - 2, length: 2, flags: 0 })],
  ['unknown extent flags', () => codec.encodeExtent({ device: 0, block: 1, length: 1, flags: 4 })],
  ['a second device', () => codec.encodeExtent({ device: 1, block: 1, length: 1, flags: 0 })],
  ['an attribute of 64 KiB and a byte', () => codec.encodeXattr(new Uint8Array(65_537))],
])('%s is not written', (_, encode) => {
  expect(encode).toThrow(AssertionFailure);
});

test('decoded bytes are a copy of their own: a page of the store does not live on in them', () => {
  const page = Buffer.alloc(64 * 1024);
  const value = codec.encodeXattr(Uint8Array.of(1, 2, 3));
  page.set(value, 100);
  const decoded = codec.decodeXattr(keys.xattrKey(1, 'user.a'), page.subarray(100, 100 + value.length));
  page.fill(0xff);
  expect(Buffer.isBuffer(decoded)).toBe(false);
  expect([...decoded]).toEqual([1, 2, 3]);
});

/** The fields of a sound record, read by an independent reader of the few msgpack types that records use. */
function fieldsOf(value: Uint8Array): { readonly values: readonly unknown[] } {
  const b = Buffer.from(value);
  let i = 0;
  const head = b.readUInt8(i++);
  const count = head === 0xdc ? b.readUInt16BE((i += 2) - 2) : head & 0x0f;
  const values: unknown[] = [];
  for (let n = 0; n < count; n++) {
    const type = b.readUInt8(i++);
    if (type < 0x80) values.push(type);
    else if (type === 0xcc) values.push(b.readUInt8(i++));
    else if (type === 0xcd) values.push(b.readUInt16BE((i += 2) - 2));
    else if (type === 0xce) values.push(b.readUInt32BE((i += 4) - 4));
    else if (type === 0xcb) values.push(b.readDoubleBE((i += 8) - 8));
    else if (type === 0xc4) {
      const length = b.readUInt8(i++);
      values.push(new Uint8Array(b.subarray(i, (i += length))));
    } else throw new Error(`type 0x${type.toString(16)} in a record`);
  }
  expect(i).toBe(b.length);
  return { values };
}
