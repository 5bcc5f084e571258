/**
 * The superblock: all that the device itself holds besides file data. One block at the start of the device and its
 * copy in the last block of the filesystem. docs/format.md draws the bytes.
 *
 * Magic, checksum, version and feature bits keep their places in every version, so that an older program can tell a
 * newer filesystem from a damaged one.
 */
import { assert, FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import { crc32c } from './crc32c.ts';
import { sameUuid, uuidLength } from './uuid.ts';

export const formatVersion = 1;

/** What came after the first programs: records `B`, `T` and `U`, and snapshots. Who writes beside them must keep them. */
const featureRecords = 1n;

/** Feature bits that this program knows, by what a program must do that does not know them. */
export const knownFeatures = { compat: 0n, roCompat: featureRecords, incompat: 0n } as const;

export interface Superblock {
  /** 1..2^32-1. A program refuses what is newer than its own. */
  readonly formatVersion: number;
  /** Unknown bits do no harm. */
  readonly compat: bigint;
  /** Unknown bits allow reading only. */
  readonly roCompat: bigint;
  /** Unknown bits forbid mounting. */
  readonly incompat: bigint;
  /** Bytes; limits.blockSize. */
  readonly blockSize: number;
  /** Blocks of the filesystem, both superblocks included. */
  readonly blockCount: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** At most 64 bytes of UTF-8, without NUL; may be empty. */
  readonly label: string;
  /** Seconds since 1970. */
  readonly createdAt: number;
  /** Seconds since 1970 of the last mount for writing; 0: never. */
  readonly mountedAt: number;
  /** Grows with every mount for writing. */
  readonly generation: number;
  /** Mounted for writing, or not unmounted in order. */
  readonly dirty: boolean;
  /** The device forgets its content with its power. */
  readonly volatile: boolean;
}

export const labelBytesMax = 64;

/** Bytes covered by the checksum. */
export const superblockSize = 2048;

/** The rest of the first block: the metadata server writes challenges there, by which clients find its memory. Nothing else looks at it. */
export const challengeArea = { offset: superblockSize, length: limits.blockSize - superblockSize } as const;

const magic = Buffer.from('IOPMEMFS', 'latin1');
const at = {
  crc: 8,
  version: 12,
  compat: 16,
  roCompat: 24,
  incompat: 32,
  blockSize: 40,
  flags: 44,
  blockCount: 48,
  generation: 56,
  uuid: 64,
  createdAt: 80,
  mountedAt: 88,
  label: 96,
  end: 160,
} as const;
const flagDirty = 1;
const flagVolatile = 2;
const safeMax = BigInt(Number.MAX_SAFE_INTEGER);

/** A whole block, ready for the device. */
export function encodeSuperblock(superblock: Superblock): Uint8Array {
  const why = flaw(superblock);
  assert(why === undefined, `superblock to be written: ${why}`);
  const block = Buffer.alloc(limits.blockSize);
  magic.copy(block);
  block.writeUInt32LE(superblock.formatVersion, at.version);
  block.writeBigUInt64LE(superblock.compat, at.compat);
  block.writeBigUInt64LE(superblock.roCompat, at.roCompat);
  block.writeBigUInt64LE(superblock.incompat, at.incompat);
  block.writeUInt32LE(superblock.blockSize, at.blockSize);
  block.writeUInt32LE((superblock.dirty ? flagDirty : 0) | (superblock.volatile ? flagVolatile : 0), at.flags);
  block.writeBigUInt64LE(BigInt(superblock.blockCount), at.blockCount);
  block.writeBigUInt64LE(BigInt(superblock.generation), at.generation);
  block.set(superblock.uuid, at.uuid);
  block.writeBigUInt64LE(BigInt(superblock.createdAt), at.createdAt);
  block.writeBigUInt64LE(BigInt(superblock.mountedAt), at.mountedAt);
  block.write(superblock.label, at.label, 'utf8');
  block.writeUInt32LE(checksum(block), at.crc);
  return block;
}

export type DecodedSuperblock =
  | { readonly kind: 'ok'; readonly superblock: Superblock }
  /** Nothing of ours stands here. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly why: string }
  /** Sound, but made by a newer program: of a later version, or with features in use that this one does not know. */
  | { readonly kind: 'newer'; readonly formatVersion: number; readonly unknownIncompat: bigint };

/** Judges one block as it came from the device. Fewer bytes than a superblock are 'absent'. */
export function decodeSuperblock(bytes: Uint8Array): DecodedSuperblock {
  if (bytes.length < superblockSize) return { kind: 'absent' };
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, superblockSize);
  if (!block.subarray(0, magic.length).equals(magic)) return { kind: 'absent' };
  if (block.readUInt32LE(at.crc) !== checksum(block)) return { kind: 'damaged', why: 'checksum does not match' };

  const version = block.readUInt32LE(at.version);
  const incompat = block.readBigUInt64LE(at.incompat);
  const unknownIncompat = incompat & ~knownFeatures.incompat;
  if (version > formatVersion || unknownIncompat !== 0n)
    return { kind: 'newer', formatVersion: version, unknownIncompat };

  const flags = block.readUInt32LE(at.flags);
  if ((flags & ~(flagDirty | flagVolatile)) !== 0)
    return { kind: 'damaged', why: `unknown flags 0x${flags.toString(16)}` };
  const numbers = ['blockCount', 'generation', 'createdAt', 'mountedAt'] as const;
  for (const field of numbers) {
    if (block.readBigUInt64LE(at[field]) > safeMax) return { kind: 'damaged', why: `${field} is past 2^53 - 1` };
  }
  const label = readLabel(block.subarray(at.label, at.end));
  if (label === undefined) return { kind: 'damaged', why: 'label is not UTF-8 padded with NUL' };

  const superblock: Superblock = {
    formatVersion: version,
    compat: block.readBigUInt64LE(at.compat),
    roCompat: block.readBigUInt64LE(at.roCompat),
    incompat,
    blockSize: block.readUInt32LE(at.blockSize),
    blockCount: Number(block.readBigUInt64LE(at.blockCount)),
    uuid: new Uint8Array(block.subarray(at.uuid, at.uuid + uuidLength)),
    label,
    createdAt: Number(block.readBigUInt64LE(at.createdAt)),
    mountedAt: Number(block.readBigUInt64LE(at.mountedAt)),
    generation: Number(block.readBigUInt64LE(at.generation)),
    dirty: (flags & flagDirty) !== 0,
    volatile: (flags & flagVolatile) !== 0,
  };
  const why = flaw(superblock);
  return why === undefined ? { kind: 'ok', superblock } : { kind: 'damaged', why };
}

/**
 * Where the two superblocks of a filesystem of `size` bytes lie, in bytes. For a filesystem smaller than its device
 * `size` is blockCount * blockSize; a last part block of the device is not used.
 * @throws FsError EINVAL below limits.deviceSizeMin
 */
export function superblockLocations(size: number): { readonly first: number; readonly copy: number } {
  if (size < limits.deviceSizeMin) {
    throw new FsError('EINVAL', { detail: `${size} bytes are too few, at least ${limits.deviceSizeMin} are needed` });
  }
  return { first: 0, copy: (Math.floor(size / limits.blockSize) - 1) * limits.blockSize };
}

export type ChosenSuperblock =
  | {
      readonly kind: 'ok';
      readonly superblock: Superblock;
      /** The other one is damaged or older. It must be written, and be durable, before the good one is written again. */
      readonly repair: { readonly which: 'first' | 'copy'; readonly why: string } | undefined;
    }
  | Exclude<DecodedSuperblock, { kind: 'ok' }>;

/**
 * The superblock that counts: the valid one of the higher generation, the first if they are equal. A copy with
 * another UUID is what an older filesystem left behind. One newer than this program makes the filesystem newer.
 */
export function chooseSuperblock(first: DecodedSuperblock, copy: DecodedSuperblock): ChosenSuperblock {
  if (first.kind === 'newer') return first;
  if (first.kind === 'ok') {
    if (copy.kind !== 'ok') {
      if (copy.kind === 'newer') return copy;
      return { kind: 'ok', superblock: first.superblock, repair: { which: 'copy', why: reason(copy) } };
    }
    const [a, b] = [first.superblock, copy.superblock];
    if (!sameUuid(a.uuid, b.uuid)) return choice(a, 'copy', 'belongs to another filesystem');
    if (a.generation < b.generation) return choice(b, 'first', `is of generation ${a.generation}, not ${b.generation}`);
    if (a.generation > b.generation) return choice(a, 'copy', `is of generation ${b.generation}, not ${a.generation}`);
    return { kind: 'ok', superblock: a, repair: undefined };
  }
  if (copy.kind === 'ok') return choice(copy.superblock, 'first', reason(first));
  if (copy.kind === 'newer') return copy;
  return first.kind === 'damaged' ? first : copy;
}

/** Features are in use that this program may not write beside. */
export function readOnlyOnly(superblock: Superblock): boolean {
  return (superblock.roCompat & ~knownFeatures.roCompat) !== 0n;
}

function choice(superblock: Superblock, which: 'first' | 'copy', why: string): ChosenSuperblock {
  return { kind: 'ok', superblock, repair: { which, why } };
}

function reason(block: { readonly kind: 'absent' } | { readonly kind: 'damaged'; readonly why: string }): string {
  return block.kind === 'absent' ? 'is absent' : block.why;
}

/** What is wrong with the values themselves; the same check before the write and after the read. */
function flaw(s: Superblock): string | undefined {
  if (!isCount(s.formatVersion) || s.formatVersion < 1 || s.formatVersion > 0xffff_ffff)
    return 'version is out of range';
  if (s.blockSize !== limits.blockSize) return `block size ${s.blockSize} is not ${limits.blockSize}`;
  if (!isCount(s.blockCount) || s.blockCount * s.blockSize < limits.deviceSizeMin) return 'block count is too small';
  if (s.blockCount > Number.MAX_SAFE_INTEGER / s.blockSize) return 'block count is too large';
  if (!isCount(s.generation) || !isCount(s.createdAt) || !isCount(s.mountedAt)) return 'a number is out of range';
  if (s.uuid.length !== uuidLength) return `UUID has ${s.uuid.length} bytes`;
  if (s.label.includes('\0') || Buffer.byteLength(s.label) > labelBytesMax) return 'label is too long or has a NUL';
  return undefined;
}

function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

function readLabel(field: Buffer): string | undefined {
  const end = field.indexOf(0);
  const text = end === -1 ? field : field.subarray(0, end);
  if (field.subarray(text.length).some((byte) => byte !== 0)) return undefined;
  const label = text.toString('utf8');
  return Buffer.from(label, 'utf8').equals(text) ? label : undefined;
}

/** Over the first superblockSize bytes with the checksum's own four taken as zero. */
function checksum(block: Buffer): number {
  const before = crc32c(block.subarray(0, at.crc));
  return crc32c(block.subarray(at.version, superblockSize), crc32c(new Uint8Array(4), before));
}
