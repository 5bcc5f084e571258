/**
 * Values of the metadata store: each a msgpack array of its fields in a fixed order (docs/format.md). Decoding takes
 * the key along, to take numbers from it and to name it in errors.
 */
import { Packr, Unpackr } from 'msgpackr';
import { limits } from '../limits.ts';
import type { Timespec } from '../vfs.ts';
import { damaged, Fields } from './fields.ts';
import { parseClientKey, parseInodeKey, parseOrphanKey, parseQuotaKey } from './keys.ts';
import { readNumbers } from './numbers.ts';
import type {
  BadRecord,
  ClientRecord,
  CountsRecord,
  DentryRecord,
  ExtentRecord,
  GrantRecord,
  HoldRecord,
  InodeRecord,
  OrphanRecord,
  ProvisionalRecord,
  QuotaRecord,
  StoreRecord,
} from './records.ts';
import { EXTENT_SHARED, EXTENT_UNWRITTEN } from './records.ts';
import { uuidLength } from './uuid.ts';

// Plain msgpack without msgpackr's record extension. Integers past 32 bits go as float64, exact up to 2^53.
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

/** What `decodeExtent` reads into. */
const numbers: [number, number, number, number] = [0, 0, 0, 0];

const u32Max = 0xffff_ffff;
const extentFlagsMax = EXTENT_UNWRITTEN | EXTENT_SHARED;
/** Extents have one device today; a feature bit will announce more. */
const deviceMax = 0;
/** Byte offsets on the device stay exact in a double. */
const blockMax = Math.floor(Number.MAX_SAFE_INTEGER / limits.blockSize) - 1;
/** NFS4_OPAQUE_LIMIT (RFC 8881 §3.1) for co_ownerid. A verifier is 8 bytes there; other protocols may want more. */
const ownerMax = 1024;
const verifierMax = 64;
const none = new Uint8Array(0);
/** Types of st_mode (S_IFMT): fifo, character device, directory, block device, regular file, symlink, socket. */
const fileTypes: ReadonlySet<number> = new Set([0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000]);
const typeBits = 0o170000;

export function encodeInode(r: InodeRecord): Uint8Array {
  const fields: unknown[] = [r.mode, r.uid, r.gid, r.nlink, r.size, r.change, r.flags];
  for (const time of [r.mtime, r.ctime, r.atime, r.btime]) fields.push(time.sec, time.nsec);
  // Regular files end here; the rest is dropped from the end while it holds its default.
  if (r.quota !== 0) fields.push(r.parent, r.rdev, r.target, r.quota);
  else if (r.target.length > 0) fields.push(r.parent, r.rdev, r.target);
  else if (r.rdev !== 0) fields.push(r.parent, r.rdev);
  else if (r.parent !== 0) fields.push(r.parent);
  return encode(fields, (f) => readInode(r.ino, f));
}

/** @throws FsError EUCLEAN */
export function decodeInode(key: Uint8Array, value: Uint8Array): InodeRecord {
  return decode(key, value, (f) => readInode(parseInodeKey(key).ino, f));
}

function readInode(ino: number, f: Fields): InodeRecord {
  const mode = f.integer('mode', 0o177777);
  if (!fileTypes.has(mode & typeBits)) f.fail(`mode 0${mode.toString(8)} is of no known type`);
  const [uid, gid, nlink] = [f.integer('uid', u32Max), f.integer('gid', u32Max), f.integer('nlink', u32Max)];
  const size = f.integer('size', limits.fileSizeMax);
  const [change, flags] = [f.integer('change'), f.integer('flags', u32Max)];
  const mtime = readTime(f);
  const ctime = sameTime(readTime(f), mtime);
  const atime = sameTime(readTime(f), mtime);
  const btime = sameTime(readTime(f), atime);
  const parent = f.integer('parent', Number.MAX_SAFE_INTEGER, 0, 0);
  const rdev = f.integer('rdev', u32Max, 0, 0);
  const target = f.bytes('target', limits.symlinkMax, 0, none);
  const quota = f.integer('quota', Number.MAX_SAFE_INTEGER, 0, 0);
  return { ino, mode, uid, gid, nlink, size, rdev, atime, mtime, ctime, btime, change, flags, parent, target, quota };
}

function readTime(f: Fields): Timespec {
  const sec = f.integer('seconds', Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER);
  return { sec, nsec: f.integer('nanoseconds', 999_999_999) };
}

/** Times are mostly equal: one object for them, since inodes are kept by the hundred thousand. */
function sameTime(time: Timespec, other: Timespec): Timespec {
  return time.sec === other.sec && time.nsec === other.nsec ? other : time;
}

export function encodeDentry(r: DentryRecord): Uint8Array {
  return encode([r.ino, r.type, r.cookie], readDentry);
}

/** @throws FsError EUCLEAN */
export function decodeDentry(key: Uint8Array, value: Uint8Array): DentryRecord {
  return decode(key, value, readDentry);
}

function readDentry(f: Fields): DentryRecord {
  const ino = f.integer('ino', Number.MAX_SAFE_INTEGER, 1);
  const type = f.integer('type', typeBits);
  if (!fileTypes.has(type)) f.fail(`type 0${type.toString(8)} is not known`);
  return { ino, type, cookie: f.integer('cookie', Number.MAX_SAFE_INTEGER, 3) };
}

export function encodeExtent(r: ExtentRecord): Uint8Array {
  return encode([r.device, r.block, r.length, r.flags], readExtent);
}

/** @throws FsError EUCLEAN */
export function decodeExtent(key: Uint8Array, value: Uint8Array): ExtentRecord {
  // A mount decodes all of them: what is as usual takes a quarter of the time of what follows.
  if (readNumbers(value, numbers)) {
    const [device, block, length, flags] = numbers;
    const isWithin = device <= deviceMax && block >= 1 && block <= blockMax && length <= blockMax - block + 1;
    if (isWithin && length >= 1 && flags <= extentFlagsMax) return { device, block, length, flags };
  }
  return decode(key, value, readExtent);
}

function readExtent(f: Fields): ExtentRecord {
  const { device, block, length } = readBlocks(f);
  return { device, block, length, flags: f.integer('flags', extentFlagsMax) };
}

/** The value of an extended attribute. */
export function encodeXattr(value: Uint8Array): Uint8Array {
  return encode([value], readXattr);
}

/** @throws FsError EUCLEAN */
export function decodeXattr(key: Uint8Array, value: Uint8Array): Uint8Array {
  return decode(key, value, readXattr);
}

function readXattr(f: Fields): Uint8Array {
  return f.bytes('value', limits.xattrValueMax);
}

/** All that an orphan says stands in its key. */
export function encodeOrphan(): Uint8Array {
  return encode([], () => undefined);
}

/** @throws FsError EUCLEAN */
export function decodeOrphan(key: Uint8Array, value: Uint8Array): OrphanRecord {
  return decode(key, value, () => parseOrphanKey(key));
}

export function encodeClient(r: ClientRecord): Uint8Array {
  return encode([r.owner, r.verifier, r.since], (f) => readClient(r.clientId, f));
}

/** @throws FsError EUCLEAN */
export function decodeClient(key: Uint8Array, value: Uint8Array): ClientRecord {
  return decode(key, value, (f) => readClient(parseClientKey(key).clientId, f));
}

function readClient(clientId: number, f: Fields): ClientRecord {
  const owner = f.bytes('owner', ownerMax, 1);
  const verifier = f.bytes('verifier', verifierMax);
  return { clientId, owner, verifier, since: f.integer('since') };
}

export function encodeProvisional(r: ProvisionalRecord): Uint8Array {
  return encode([r.device, r.block, r.length, r.clientId], readProvisional);
}

/** @throws FsError EUCLEAN */
export function decodeProvisional(key: Uint8Array, value: Uint8Array): ProvisionalRecord {
  return decode(key, value, readProvisional);
}

function readProvisional(f: Fields): ProvisionalRecord {
  const { device, block, length } = readBlocks(f);
  return { clientId: f.integer('clientId'), device, block, length };
}

/** First block of the hold stands in its key. */
export function encodeHold(r: HoldRecord): Uint8Array {
  return encode([r.device, r.length, r.access === 'write' ? 1 : 0, r.since], readHold);
}

/** @throws FsError EUCLEAN */
export function decodeHold(key: Uint8Array, value: Uint8Array): HoldRecord {
  return decode(key, value, readHold);
}

function readHold(f: Fields): HoldRecord {
  const device = f.integer('device', deviceMax);
  const length = f.integer('length', blockMax, 1);
  const access = readAccess(f);
  return { device, length, access, since: f.integer('since') };
}

export function encodeGrant(r: GrantRecord): Uint8Array {
  return encode([r.access === 'write' ? 1 : 0], readGrant);
}

/** @throws FsError EUCLEAN */
export function decodeGrant(key: Uint8Array, value: Uint8Array): GrantRecord {
  return decode(key, value, readGrant);
}

function readGrant(f: Fields): GrantRecord {
  return { access: readAccess(f) };
}

function readAccess(f: Fields): 'read' | 'write' {
  return f.integer('access', 1) === 1 ? 'write' : 'read';
}

export function encodeCounts(r: CountsRecord): Uint8Array {
  return encode([r.generation, r.inodes], readCounts);
}

/** @throws FsError EUCLEAN */
export function decodeCounts(key: Uint8Array, value: Uint8Array): CountsRecord {
  return decode(key, value, readCounts);
}

function readCounts(f: Fields): CountsRecord {
  return { generation: f.integer('generation'), inodes: f.integer('inodes') };
}

/** First block of the range stands in its key. */
export function encodeBad(r: BadRecord): Uint8Array {
  return encode([r.device, r.length, r.since], readBad);
}

/** @throws FsError EUCLEAN */
export function decodeBad(key: Uint8Array, value: Uint8Array): BadRecord {
  return decode(key, value, readBad);
}

function readBad(f: Fields): BadRecord {
  const device = f.integer('device', deviceMax);
  return { device, length: f.integer('length', blockMax, 1), since: f.integer('since') };
}

/** A limit of 0 is none, as in quota tools. */
export function encodeQuota(r: QuotaRecord): Uint8Array {
  const [blocksMax, inodesMax] = [r.blocksMax, r.inodesMax].map((limit) => (limit === Infinity ? 0 : limit));
  return encode([r.root, blocksMax, inodesMax, r.blocks, r.inodes], (f) => readQuota(r.id, f));
}

/** @throws FsError EUCLEAN */
export function decodeQuota(key: Uint8Array, value: Uint8Array): QuotaRecord {
  return decode(key, value, (f) => readQuota(parseQuotaKey(key).id, f));
}

function readQuota(id: number, f: Fields): QuotaRecord {
  const root = f.integer('root', Number.MAX_SAFE_INTEGER, 1);
  const [blocksMax, inodesMax] = [f.integer('blocksMax') || Infinity, f.integer('inodesMax') || Infinity];
  return { id, root, blocksMax, inodesMax, blocks: f.integer('blocks'), inodes: f.integer('inodes') };
}

export function encodeStore(r: StoreRecord): Uint8Array {
  const { formatVersion, uuid, generation, superblockGeneration, nextIno, nextClientId, reserve } = r;
  const fields = [formatVersion, uuid, generation, superblockGeneration, nextIno, nextClientId];
  return encode(reserve === 0 ? fields : [...fields, reserve], readStore);
}

/** @throws FsError EUCLEAN */
export function decodeStore(key: Uint8Array, value: Uint8Array): StoreRecord {
  return decode(key, value, readStore);
}

function readStore(f: Fields): StoreRecord {
  const formatVersion = f.integer('formatVersion', u32Max, 1);
  const uuid = f.bytes('uuid', uuidLength, uuidLength);
  const generation = f.integer('generation');
  const superblockGeneration = f.integer('superblockGeneration', generation);
  const nextIno = f.integer('nextIno', Number.MAX_SAFE_INTEGER, 1);
  const nextClientId = f.integer('nextClientId');
  const reserve = f.integer('reserve', limits.reserveMax, 0, 0);
  return { formatVersion, uuid, generation, superblockGeneration, nextIno, nextClientId, reserve };
}

/** A run of blocks of a device; block 0 is the superblock's. */
function readBlocks(f: Fields): { device: number; block: number; length: number } {
  const device = f.integer('device', deviceMax);
  const block = f.integer('block', blockMax, 1);
  return { device, block, length: f.integer('length', blockMax - block + 1, 1) };
}

function encode(fields: readonly unknown[], read: (fields: Fields) => unknown): Uint8Array {
  const check = new Fields(fields, undefined);
  read(check);
  check.end();
  return packr.pack(fields);
}

function decode<T>(key: Uint8Array, value: Uint8Array, read: (fields: Fields) => T): T {
  let values: unknown;
  try {
    values = unpackr.unpack(value);
  } catch (cause) {
    throw damaged(key, 'is not msgpack', cause);
  }
  if (!Array.isArray(values)) throw damaged(key, 'is not an array');
  const fields = new Fields(values, key);
  const record = read(fields);
  fields.end();
  return record;
}
