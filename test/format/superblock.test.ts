import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { AssertionFailure } from '../../fs/errors.ts';
import { crc32c } from '../../fs/format/crc32c.ts';
import {
  chooseSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  labelBytesMax,
  readOnlyOnly,
  type Superblock,
  superblockLocations,
  superblockSize,
} from '../../fs/format/superblock.ts';
import { limits } from '../../fs/limits.ts';

const sample: Superblock = {
  formatVersion: 1,
  compat: 0n,
  roCompat: 0n,
  incompat: 0n,
  blockSize: 4096,
  blockCount: 131_072,
  uuid: Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i),
  label: 'scratch',
  createdAt: 1_763_600_000,
  mountedAt: 1_763_600_060,
  generation: 7,
  dirty: true,
  volatile: false,
};
const offsetOf = {
  crc: 8,
  version: 12,
  roCompat: 24,
  incompat: 32,
  blockSize: 40,
  flags: 44,
  blockCount: 48,
  label: 96,
};

const safe = fc.maxSafeNat();
const label = fc
  .string({ unit: 'binary', maxLength: labelBytesMax })
  .filter((s) => !s.includes('\0') && Buffer.byteLength(s) <= labelBytesMax && Buffer.from(s).toString() === s);
const superblocks: fc.Arbitrary<Superblock> = fc.record({
  formatVersion: fc.constant(1),
  compat: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  roCompat: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  incompat: fc.constant(0n),
  blockSize: fc.constant(limits.blockSize),
  blockCount: fc.integer({ min: 16, max: 2 ** 41 - 1 }),
  uuid: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  label,
  createdAt: safe,
  mountedAt: safe,
  generation: safe,
  dirty: fc.boolean(),
  volatile: fc.boolean(),
});

/** The block with some bytes changed and its checksum right again, as a faulty or hostile program would write it. */
function forged(change: (block: Buffer) => void): Uint8Array {
  const block = Buffer.from(encodeSuperblock(sample));
  change(block);
  block.writeUInt32LE(0, offsetOf.crc);
  block.writeUInt32LE(crc32c(block.subarray(0, superblockSize)), offsetOf.crc);
  return block;
}

test.prop([superblocks])('what was encoded decodes to the same', (superblock) => {
  expect(decodeSuperblock(encodeSuperblock(superblock))).toEqual({ kind: 'ok', superblock });
});

test('the fields lie where docs/format.md draws them', () => {
  const block = Buffer.from(encodeSuperblock(sample));
  expect(block).toHaveLength(4096);
  expect(
    block
      .subarray(0, 112)
      .toString('hex')
      .replace(/(.{32})/g, '$1 '),
  ).toBe(
    '494f504d454d4653318990b801000000 00000000000000000000000000000000 00000000000000000010000001000000 ' +
      '00000200000000000700000000000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 80661e6900000000bc661e6900000000 73637261746368000000000000000000 ',
  );
  expect(block.subarray(112).every((byte) => byte === 0)).toBe(true);
});

test.prop([superblocks, fc.nat(superblockSize * 8 - 1)])(
  'one flipped bit is never taken for a superblock',
  (sb, bit) => {
    const block = encodeSuperblock(sb);
    const byte = bit >> 3;
    block[byte] = (block[byte] ?? 0) ^ (1 << (bit & 7));
    expect(decodeSuperblock(block).kind).toBe(byte < 8 ? 'absent' : 'damaged');
  },
);

test.prop([fc.integer({ min: superblockSize, max: 4095 })])('the challenge area may hold anything', (at) => {
  const block = encodeSuperblock(sample);
  block[at] = 0xff;
  expect(decodeSuperblock(block)).toEqual({ kind: 'ok', superblock: sample });
});

test.prop([fc.uint8Array({ maxLength: 5000, size: 'max' })])('bytes of somebody else are absent', (bytes) => {
  fc.pre(Buffer.from(bytes.subarray(0, 8)).toString('latin1') !== 'IOPMEMFS');
  expect(decodeSuperblock(bytes)).toEqual({ kind: 'absent' });
});

test.prop([fc.array(fc.tuple(fc.integer({ min: 12, max: 200 }), fc.nat(255)), { minLength: 1 })])(
  'hostile fields under a right checksum never throw, and what is accepted can be written again',
  (changes) => {
    const decoded = decodeSuperblock(
      forged((block) => {
        for (const [at, byte] of changes) block[at] = byte;
      }),
    );
    if (decoded.kind === 'ok') expect(decodeSuperblock(encodeSuperblock(decoded.superblock))).toEqual(decoded);
  },
);

test('a later version is newer, not damaged', () => {
  const block = forged((b) => b.writeUInt32LE(2, offsetOf.version));
  expect(decodeSuperblock(block)).toEqual({ kind: 'newer', formatVersion: 2, unknownIncompat: 0n });
});

test('an unknown incompatible feature is newer', () => {
  const block = forged((b) => b.writeBigUInt64LE(1n << 40n, offsetOf.incompat));
  expect(decodeSuperblock(block)).toEqual({ kind: 'newer', formatVersion: 1, unknownIncompat: 1n << 40n });
});

test('an unknown read-only compatible feature allows reading only', () => {
  const decoded = decodeSuperblock(forged((b) => b.writeBigUInt64LE(4n, offsetOf.roCompat)));
  if (decoded.kind !== 'ok') throw new Error(decoded.kind);
  expect(readOnlyOnly(decoded.superblock)).toBe(true);
  expect(readOnlyOnly(sample)).toBe(false);
});

test.each<[string, (block: Buffer) => void]>([
  ['version 0', (b) => b.writeUInt32LE(0, offsetOf.version)],
  ['a block size of its own', (b) => b.writeUInt32LE(8192, offsetOf.blockSize)],
  ['unknown flags', (b) => b.writeUInt32LE(4, offsetOf.flags)],
  ['too few blocks', (b) => b.writeBigUInt64LE(15n, offsetOf.blockCount)],
  ['more blocks than bytes can be counted', (b) => b.writeBigUInt64LE(2n ** 50n, offsetOf.blockCount)],
  ['a number past 2^53 - 1', (b) => b.writeBigUInt64LE(2n ** 53n, offsetOf.blockCount)],
  ['a label that is not UTF-8', (b) => b.writeUInt8(0xff, offsetOf.label)],
  ['a label with bytes after its end', (b) => b.writeUInt8(0x41, offsetOf.label + 63)],
])('%s is damage', (_, change) => {
  expect(decodeSuperblock(forged(change)).kind).toBe('damaged');
});

test.each<[string, Partial<Superblock>]>([
  ['a label of 65 bytes', { label: 'ä'.repeat(32) + 'x' }],
  ['a short UUID', { uuid: new Uint8Array(15) }],
  ['half a generation', { generation: 0.5 }],
  ['a negative time', { createdAt: -1 }],
])('%s is not written', (_, change) => {
  expect(() => encodeSuperblock({ ...sample, ...change })).toThrow(AssertionFailure);
});

test('the copy lies in the last whole block', () => {
  expect(superblockLocations(64 * 1024)).toEqual({ first: 0, copy: 15 * 4096 });
  expect(superblockLocations(64 * 1024 + 4095)).toEqual({ first: 0, copy: 15 * 4096 });
  expect(() => superblockLocations(64 * 1024 - 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
});

const ok = (generation: number, uuid = sample.uuid) =>
  ({ kind: 'ok', superblock: { ...sample, generation, uuid } }) as const;
const absent = { kind: 'absent' } as const;
const damaged = { kind: 'damaged', why: 'checksum does not match' } as const;
const newer = { kind: 'newer', formatVersion: 2, unknownIncompat: 0n } as const;
const foreign = new Uint8Array(16);

test.each([
  ['both the same', ok(7), ok(7), { generation: 7, repair: undefined }],
  ['the first newer', ok(8), ok(7), { generation: 8, repair: 'copy' }],
  ['the copy newer', ok(7), ok(8), { generation: 8, repair: 'first' }],
  ['the first damaged', damaged, ok(8), { generation: 8, repair: 'first' }],
  ['the copy damaged', ok(8), damaged, { generation: 8, repair: 'copy' }],
  ['the first overwritten', absent, ok(8), { generation: 8, repair: 'first' }],
  ['the copy overwritten', ok(8), absent, { generation: 8, repair: 'copy' }],
  ['a copy left by another filesystem', ok(1), ok(90, foreign), { generation: 1, repair: 'copy' }],
])('of two superblocks, %s, the right one is taken and the other named', (_, first, copy, expected) => {
  const chosen = chooseSuperblock(first, copy);
  if (chosen.kind !== 'ok') throw new Error(chosen.kind);
  expect({ generation: chosen.superblock.generation, repair: chosen.repair?.which }).toEqual(expected);
});

const found = { ok: ok(3), absent, damaged, newer };
test.each([
  ['absent', 'absent', 'absent'],
  ['absent', 'damaged', 'damaged'],
  ['damaged', 'absent', 'damaged'],
  ['damaged', 'damaged', 'damaged'],
  ['newer', 'ok', 'newer'],
  ['ok', 'newer', 'newer'],
  ['absent', 'newer', 'newer'],
  ['damaged', 'newer', 'newer'],
] as const)('a first superblock %s and a copy %s make a filesystem %s', (first, copy, kind) => {
  expect(chooseSuperblock(found[first], found[copy]).kind).toBe(kind);
});

/** Power fails while `after` is written over `before`: some words have arrived and others have not. */
function torn(before: Uint8Array, after: Uint8Array, arrived: readonly boolean[]): Uint8Array {
  return before.map((byte, i) => (arrived[(i >> 3) % arrived.length] === true ? (after[i] ?? 0) : byte));
}

test.prop([
  fc.constantFrom('first', 'copy'),
  fc.array(fc.boolean(), { minLength: 1, maxLength: 512 }),
  fc.constantFrom('none', 'first', 'copy'),
])('power that fails during an update leaves the old superblock or the new one', (cutDuring, arrived, lost) => {
  const [old, updated] = [encodeSuperblock(sample), encodeSuperblock({ ...sample, generation: 8, dirty: false })];
  const media = {
    first: lost === 'first' ? new Uint8Array(4096) : old,
    copy: lost === 'copy' ? new Uint8Array(4096) : old,
  };

  // The order of docs/format.md: the one that needs repair first, otherwise the copy.
  const before = chooseSuperblock(decodeSuperblock(media.first), decodeSuperblock(media.copy));
  if (before.kind !== 'ok') throw new Error(before.kind);
  const order = before.repair?.which === 'first' ? (['first', 'copy'] as const) : (['copy', 'first'] as const);
  for (const which of order) {
    media[which] = which === cutDuring ? torn(media[which], updated, arrived) : updated;
    if (which === cutDuring) break;
  }
  const chosen = chooseSuperblock(decodeSuperblock(media.first), decodeSuperblock(media.copy));
  if (chosen.kind !== 'ok') throw new Error(chosen.kind);
  expect([7, 8]).toContain(chosen.superblock.generation);
});
