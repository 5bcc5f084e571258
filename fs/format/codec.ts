/**
 * Values of the metadata store: each a msgpack array of its fields in a fixed order (docs/format.md). Decoding takes
 * the key along, to take numbers from it and to name it in errors.
 */
import { Unpackr } from 'msgpackr';
import { limits } from '../limits.ts';
import type { Timespec } from '../vfs.ts';
import { damaged, Fields } from './fields.ts';
import { isFileType, typeBits } from './file-types.ts';
import { parseClientKey, parseCutKey, parseInodeKey, parseOrphanKey, parseQuotaKey } from './keys.ts';
import { readNumbers } from './numbers.ts';
import { quickDentry, quickInode } from './quick-records.ts';
import { RecordWriter } from './record-writer.ts';
import type {
  BadRecord,
  ClientRecord,
  CountsRecord,
  CutRecord,
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
const writer = new RecordWriter();
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

/** What `decodeExtent` reads into. */
const numbers: [number, number, number, number] = [0, 0, 0, 0];

const u32Max = 0xffff_ffff;
const extentFlagsMax = EXTENT_UNWRITTEN | EXTENT_SHARED;
/** Extents have one device today; a feature bit will announce more. */
const deviceMax = 0;
/** Byte offsets on the device stay exact in a double. */
const blockMax = Math.floor(Number.MAX_SAFE_INTEGER / limits.blockSize) - 1;
/** No file has more. */
const fileBlocksMax = limits.fileSizeMax / limits.blockSize;
/** NFS4_OPAQUE_LIMIT (RFC 8881 §3.1) for co_ownerid. A verifier is 8 bytes there; other protocols may want more. */
const ownerMax = 1024;
const verifierMax = 64;
/** A UUID on Linux; other systems may have something else. */
const bootMax = 64;
/** A machine id, a boot id, a namespace and two numbers: about 120 characters. */
const processMax = 256;
const none = new Uint8Array(0);

export function encodeInode(r: InodeRecord): Uint8Array {
  const { mode, parent, rdev, target, quota } = r;
  // Regular files end after the times; the rest is dropped from the end while it holds its default.
  const more = quota !== 0 ? 4 : target.length > 0 ? 3 : rdev !== 0 ? 2 : parent !== 0 ? 1 : 0;
  writer.begin(15 + more, target.length);
  writer.integer('mode', mode, 0o177777);
  if (!isFileType(mode)) writer.fail(`mode 0${mode.toString(8)} is of no known type`);
  writer.integer('uid', r.uid, u32Max);
  writer.integer('gid', r.gid, u32Max);
  writer.integer('nlink', r.nlink, u32Max);
  writer.integer('size', r.size, limits.fileSizeMax);
  writer.integer('change', r.change);
  writer.integer('flags', r.flags, u32Max);
  writeTime(r.mtime);
  writeTime(r.ctime);
  writeTime(r.atime);
  writeTime(r.btime);
  if (more > 0) writer.integer('parent', parent);
  if (more > 1) writer.integer('rdev', rdev, u32Max);
  if (more > 2) writer.bytes('target', target, limits.symlinkMax);
  if (more > 3) writer.integer('quota', quota);
  return writer.end();
}

function writeTime({ sec, nsec }: Timespec): void {
  writer.integer('seconds', sec, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER);
  writer.integer('nanoseconds', nsec, 999_999_999);
}

/** @throws FsError EUCLEAN */
export function decodeInode(key: Uint8Array, value: Uint8Array): InodeRecord {
  const { ino } = parseInodeKey(key);
  return quickInode(ino, value, 0, value.length) ?? decode(key, value, (f) => readInode(ino, f));
}

function readInode(ino: number, f: Fields): InodeRecord {
  const mode = f.integer('mode', 0o177777);
  if (!isFileType(mode)) f.fail(`mode 0${mode.toString(8)} is of no known type`);
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
  writer.begin(3);
  writer.integer('ino', r.ino, Number.MAX_SAFE_INTEGER, 1);
  writer.integer('type', r.type, typeBits);
  if (!isFileType(r.type)) writer.fail(`type 0${r.type.toString(8)} is not known`);
  writer.integer('cookie', r.cookie, Number.MAX_SAFE_INTEGER, 3);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeDentry(key: Uint8Array, value: Uint8Array): DentryRecord {
  return quickDentry(value, 0, value.length) ?? decode(key, value, readDentry);
}

function readDentry(f: Fields): DentryRecord {
  const ino = f.integer('ino', Number.MAX_SAFE_INTEGER, 1);
  const type = f.integer('type', typeBits);
  if (!isFileType(type)) f.fail(`type 0${type.toString(8)} is not known`);
  return { ino, type, cookie: f.integer('cookie', Number.MAX_SAFE_INTEGER, 3) };
}

export function encodeExtent(r: ExtentRecord): Uint8Array {
  writer.begin(4);
  writeBlocks(r);
  writer.integer('flags', r.flags, extentFlagsMax);
  return writer.end();
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
  writer.begin(1, value.length);
  writer.bytes('value', value, limits.xattrValueMax);
  return writer.end();
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
  writer.begin(0);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeOrphan(key: Uint8Array, value: Uint8Array): OrphanRecord {
  return decode(key, value, () => parseOrphanKey(key));
}

export function encodeClient(r: ClientRecord): Uint8Array {
  writer.begin(8, r.owner.length + r.verifier.length + r.boot.length + r.process.length);
  writer.bytes('owner', r.owner, ownerMax, 1);
  writer.bytes('verifier', r.verifier, verifierMax);
  writer.integer('since', r.since);
  writer.integer('uid', r.uid, u32Max);
  writer.integer('leaseMs', r.leaseMs, u32Max);
  writer.integer('ioMaxMs', r.ioMaxMs, u32Max);
  writer.bytes('boot', r.boot, bootMax);
  writer.bytes('process', r.process, processMax);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeClient(key: Uint8Array, value: Uint8Array): ClientRecord {
  return decode(key, value, (f) => readClient(parseClientKey(key).clientId, f));
}

function readClient(clientId: number, f: Fields): ClientRecord {
  const owner = f.bytes('owner', ownerMax, 1);
  const verifier = f.bytes('verifier', verifierMax);
  const since = f.integer('since');
  return {
    clientId,
    owner,
    verifier,
    since,
    uid: f.integer('uid', u32Max, 0, 0),
    leaseMs: f.integer('leaseMs', u32Max, 0, 0),
    ioMaxMs: f.integer('ioMaxMs', u32Max, 0, u32Max),
    boot: f.bytes('boot', bootMax, 0, none),
    process: f.bytes('process', processMax, 0, none),
  };
}

export function encodeProvisional(r: ProvisionalRecord): Uint8Array {
  writer.begin(4);
  writeBlocks(r);
  writer.integer('clientId', r.clientId);
  return writer.end();
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
  writer.begin(4);
  writer.integer('device', r.device, deviceMax);
  writer.integer('length', r.length, blockMax, 1);
  writeAccess(r.access);
  writer.integer('since', r.since);
  return writer.end();
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
  writer.begin(1);
  writeAccess(r.access);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeGrant(key: Uint8Array, value: Uint8Array): GrantRecord {
  return decode(key, value, readGrant);
}

function readGrant(f: Fields): GrantRecord {
  return { access: readAccess(f) };
}

function writeAccess(access: 'read' | 'write'): void {
  writer.integer('access', access === 'write' ? 1 : 0, 1);
}

function readAccess(f: Fields): 'read' | 'write' {
  return f.integer('access', 1) === 1 ? 'write' : 'read';
}

export function encodeCounts(r: CountsRecord): Uint8Array {
  writer.begin(2);
  writer.integer('generation', r.generation);
  writer.integer('inodes', r.inodes);
  return writer.end();
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
  writer.begin(3);
  writer.integer('device', r.device, deviceMax);
  writer.integer('length', r.length, blockMax, 1);
  writer.integer('since', r.since);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeBad(key: Uint8Array, value: Uint8Array): BadRecord {
  return decode(key, value, readBad);
}

function readBad(f: Fields): BadRecord {
  const device = f.integer('device', deviceMax);
  return { device, length: f.integer('length', blockMax, 1), since: f.integer('since') };
}

export function encodeCut(r: CutRecord): Uint8Array {
  writer.begin(2);
  writer.integer('from', r.from, fileBlocksMax - 1);
  writer.integer('to', r.to, fileBlocksMax, r.from + 1);
  return writer.end();
}

/** @throws FsError EUCLEAN */
export function decodeCut(key: Uint8Array, value: Uint8Array): CutRecord {
  return decode(key, value, (f) => readCut(parseCutKey(key).ino, f));
}

function readCut(ino: number, f: Fields): CutRecord {
  const from = f.integer('from', fileBlocksMax - 1);
  return { ino, from, to: f.integer('to', fileBlocksMax, from + 1) };
}

/** A limit of 0 is none, as in quota tools. */
export function encodeQuota(r: QuotaRecord): Uint8Array {
  writer.begin(5);
  writer.integer('root', r.root, Number.MAX_SAFE_INTEGER, 1);
  writer.integer('blocksMax', r.blocksMax === Infinity ? 0 : r.blocksMax);
  writer.integer('inodesMax', r.inodesMax === Infinity ? 0 : r.inodesMax);
  writer.integer('blocks', r.blocks);
  writer.integer('inodes', r.inodes);
  return writer.end();
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
  writer.begin(r.reserve === 0 ? 6 : 7, r.uuid.length);
  writer.integer('formatVersion', r.formatVersion, u32Max, 1);
  writer.bytes('uuid', r.uuid, uuidLength, uuidLength);
  writer.integer('generation', r.generation);
  writer.integer('superblockGeneration', r.superblockGeneration, r.generation);
  writer.integer('nextIno', r.nextIno, Number.MAX_SAFE_INTEGER, 1);
  writer.integer('nextClientId', r.nextClientId);
  if (r.reserve !== 0) writer.integer('reserve', r.reserve, limits.reserveMax);
  return writer.end();
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

function writeBlocks(r: { readonly device: number; readonly block: number; readonly length: number }): void {
  writer.integer('device', r.device, deviceMax);
  writer.integer('block', r.block, blockMax, 1);
  writer.integer('length', r.length, blockMax - r.block + 1, 1);
}

/** A run of blocks of a device; block 0 is the superblock's. */
function readBlocks(f: Fields): { device: number; block: number; length: number } {
  const device = f.integer('device', deviceMax);
  const block = f.integer('block', blockMax, 1);
  return { device, block, length: f.integer('length', blockMax - block + 1, 1) };
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
