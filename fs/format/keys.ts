/**
 * Keys of the metadata store: one byte for the kind of record, then big-endian numbers of 8 bytes, so that the order
 * of the bytes is the order of the numbers; then a name as it is. docs/format.md lists them.
 */
import { assert, FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Name, nameFromBytes } from '../name.ts';

export interface KeyRange {
  /** Inclusive. */
  readonly from: Uint8Array;
  /** Exclusive. */
  readonly to: Uint8Array;
}

const kind = {
  inode: 0x49,
  dentry: 0x44,
  extent: 0x45,
  xattr: 0x58,
  orphan: 0x4f,
  client: 0x43,
  provisional: 0x50,
  hold: 0x51,
  grant: 0x47,
  counts: 0x4e,
  bad: 0x42,
  cut: 0x54,
  quota: 0x55,
  store: 0x53,
} as const;
type Kind = (typeof kind)[keyof typeof kind];

/** `I` ino */
export const inodeKey = (ino: number): Uint8Array => key1(kind.inode, ino);
export const inodeRange = (): KeyRange => all(kind.inode);
export const parseInodeKey = (key: Uint8Array): { readonly ino: number } => ({ ino: parse1(key, kind.inode) });

/** `D` parent, name */
export const dentryKey = (parent: number, name: Name): Uint8Array => keyWithName(kind.dentry, parent, name);
/** The entries of one directory, or of all. */
export const dentryRange = (parent?: number): KeyRange => ofInode(kind.dentry, parent);
export function parseDentryKey(key: Uint8Array): { readonly parent: number; readonly name: Name } {
  const parent = parseOwner(key, kind.dentry);
  try {
    return { parent, name: nameFromBytes(key.subarray(9)) };
  } catch (cause) {
    throw malformed(key, cause);
  }
}

/** Whether it is the key of an inode or of a name. */
export const isInodeKey = (key: Uint8Array): boolean => key[0] === kind.inode;
export const isDentryKey = (key: Uint8Array): boolean => key[0] === kind.dentry;

/** `E` ino, fileBlock */
export const extentKey = (ino: number, fileBlock: number): Uint8Array => key2(kind.extent, ino, fileBlock);
/** The extents of one inode, or of all. */
export const extentRange = (ino?: number): KeyRange => ofInode(kind.extent, ino);
export const parseExtentKey = (key: Uint8Array): FileBlockKey => parseFileBlock(key, kind.extent);

/** `X` ino, name of the extended attribute with its namespace prefix, one character per byte */
export function xattrKey(ino: number, name: string): Uint8Array {
  assert(name.length > 0 && name.length <= limits.xattrNameMax, 'length of an extended attribute name');
  return keyWithName(kind.xattr, ino, name);
}
/** The extended attributes of one inode, or of all. */
export const xattrRange = (ino?: number): KeyRange => ofInode(kind.xattr, ino);
export function parseXattrKey(key: Uint8Array): { readonly ino: number; readonly name: string } {
  const ino = parseOwner(key, kind.xattr);
  const name = Buffer.from(key.buffer, key.byteOffset + 9, key.length - 9).toString('latin1');
  if (name.length === 0 || name.length > limits.xattrNameMax || name.includes('\0')) throw malformed(key);
  return { ino, name };
}

/** `O` ino */
export const orphanKey = (ino: number): Uint8Array => key1(kind.orphan, ino);
export const orphanRange = (): KeyRange => all(kind.orphan);
export const parseOrphanKey = (key: Uint8Array): { readonly ino: number } => ({ ino: parse1(key, kind.orphan) });

/** `C` clientid */
export const clientKey = (clientId: number): Uint8Array => key1(kind.client, clientId);
export const clientRange = (): KeyRange => all(kind.client);
export const parseClientKey = (key: Uint8Array): { readonly clientId: number } => ({
  clientId: parse1(key, kind.client),
});

/** `P` ino, fileBlock */
export const provisionalKey = (ino: number, fileBlock: number): Uint8Array => key2(kind.provisional, ino, fileBlock);
/** The provisional blocks of one inode, or of all. */
export const provisionalRange = (ino?: number): KeyRange => ofInode(kind.provisional, ino);
export const parseProvisionalKey = (key: Uint8Array): FileBlockKey => parseFileBlock(key, kind.provisional);

/** `Q` block, clientid */
export const holdKey = (block: number, clientId: number): Uint8Array => key2(kind.hold, block, clientId);
export const holdRange = (): KeyRange => all(kind.hold);
export function parseHoldKey(key: Uint8Array): { readonly block: number; readonly clientId: number } {
  const [block, clientId] = parse2(key, kind.hold);
  return { block, clientId };
}

/** `G` clientid, ino */
export const grantKey = (clientId: number, ino: number): Uint8Array => key2(kind.grant, clientId, ino);
export const grantRange = (): KeyRange => all(kind.grant);
export function parseGrantKey(key: Uint8Array): { readonly clientId: number; readonly ino: number } {
  const [clientId, ino] = parse2(key, kind.grant);
  return { clientId, ino };
}

/** `N`: the one record of counts */
export const countsKey = (): Uint8Array => Uint8Array.of(kind.counts);
export const countsRange = (): KeyRange => all(kind.counts);

/** `B` block */
export const badKey = (block: number): Uint8Array => key1(kind.bad, block);
export const badRange = (): KeyRange => all(kind.bad);
export const parseBadKey = (key: Uint8Array): { readonly block: number } => ({ block: parse1(key, kind.bad) });

/** `T` ino */
export const cutKey = (ino: number): Uint8Array => key1(kind.cut, ino);
export const cutRange = (): KeyRange => all(kind.cut);
export const parseCutKey = (key: Uint8Array): { readonly ino: number } => ({ ino: parse1(key, kind.cut) });

/** `U` id */
export const quotaKey = (id: number): Uint8Array => key1(kind.quota, id);
export const quotaRange = (): KeyRange => all(kind.quota);
export const parseQuotaKey = (key: Uint8Array): { readonly id: number } => ({ id: parse1(key, kind.quota) });

/** `S`: the one record about the store itself */
export const storeKey = (): Uint8Array => Uint8Array.of(kind.store);

export interface FileBlockKey {
  readonly ino: number;
  /** Block of the file, counted from its start. */
  readonly fileBlock: number;
}

/** A key for messages: its letter and its numbers, or its bytes in hex if it is not one of ours. */
export function describeKey(key: Uint8Array): string {
  const prefix = key[0] ?? 0;
  const letter = String.fromCharCode(prefix);
  switch (prefix) {
    case kind.inode:
    case kind.orphan:
    case kind.client:
    case kind.bad:
    case kind.cut:
    case kind.quota:
      if (key.length === 9) return `${letter} ${readU64(key, 1)}`;
      break;
    case kind.extent:
    case kind.provisional:
    case kind.hold:
    case kind.grant:
      if (key.length === 17) return `${letter} ${readU64(key, 1)} ${readU64(key, 9)}`;
      break;
    case kind.dentry:
    case kind.xattr:
      if (key.length > 9)
        return `${letter} ${readU64(key, 1)} ${JSON.stringify(Buffer.from(key.subarray(9)).toString())}`;
      break;
    case kind.counts:
    case kind.store:
      if (key.length === 1) return letter;
      break;
    default:
  }
  return `0x${Buffer.from(key).toString('hex')}`;
}

function key1(prefix: Kind, a: number): Uint8Array {
  const key = Buffer.allocUnsafe(9);
  key[0] = prefix;
  writeU64(key, a, 1);
  return key;
}

function key2(prefix: Kind, a: number, b: number): Uint8Array {
  const key = Buffer.allocUnsafe(17);
  key[0] = prefix;
  writeU64(key, a, 1);
  writeU64(key, b, 9);
  return key;
}

function keyWithName(prefix: Kind, ino: number, name: string): Uint8Array {
  const key = Buffer.allocUnsafe(9 + name.length);
  key[0] = prefix;
  writeU64(key, ino, 1);
  key.write(name, 9, 'latin1');
  return key;
}

function all(prefix: Kind): KeyRange {
  return { from: Uint8Array.of(prefix), to: Uint8Array.of(prefix + 1) };
}

function ofInode(prefix: Kind, ino: number | undefined): KeyRange {
  if (ino === undefined) return all(prefix);
  return { from: key1(prefix, ino), to: ino === Number.MAX_SAFE_INTEGER ? all(prefix).to : key1(prefix, ino + 1) };
}

function parse1(key: Uint8Array, prefix: Kind): number {
  if (key.length !== 9) throw malformed(key);
  return parseOwner(key, prefix);
}

function parse2(key: Uint8Array, prefix: Kind): [number, number] {
  if (key.length !== 17) throw malformed(key);
  const b = readU64(key, 9);
  if (b > Number.MAX_SAFE_INTEGER) throw malformed(key);
  return [parseOwner(key, prefix), b];
}

function parseFileBlock(key: Uint8Array, prefix: Kind): FileBlockKey {
  const [ino, fileBlock] = parse2(key, prefix);
  return { ino, fileBlock };
}

/** The prefix and the first number; what follows is the caller's to check. */
function parseOwner(key: Uint8Array, prefix: Kind): number {
  if (key[0] !== prefix || key.length < 9) throw malformed(key);
  const n = readU64(key, 1);
  if (n > Number.MAX_SAFE_INTEGER) throw malformed(key);
  return n;
}

/** Two halves, since BigInt costs ten times as much; exact for every safe integer. */
function writeU64(key: Buffer, n: number, offset: number): void {
  assert(Number.isSafeInteger(n) && n >= 0, 'a number in a key is a safe integer from 0');
  const high = Math.floor(n / 2 ** 32);
  key[offset] = high >>> 24;
  key[offset + 1] = high >>> 16;
  key[offset + 2] = high >>> 8;
  key[offset + 3] = high;
  key[offset + 4] = n >>> 24;
  key[offset + 5] = n >>> 16;
  key[offset + 6] = n >>> 8;
  key[offset + 7] = n;
}

function readU64(key: Uint8Array, offset: number): number {
  return readU32(key, offset) * 2 ** 32 + readU32(key, offset + 4);
}

function readU32(key: Uint8Array, offset: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [key[offset], key[offset + 1], key[offset + 2], key[offset + 3]];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

function malformed(key: Uint8Array, cause?: unknown): FsError {
  return new FsError('EUCLEAN', { detail: `malformed key ${describeKey(key)} in the metadata store` }, cause);
}
