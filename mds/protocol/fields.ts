/** The fields that messages are made of: schemas, and their way into the types of the program. */
import { type Static, Type } from 'typebox';
import type { Attr, SetAttr, Timespec } from '../../fs/vfs.ts';
import type { StateId } from '../../layout/types.ts';
import { wireLimits } from './limits.ts';

export const U32 = Type.Integer({ minimum: 0, maximum: 0xffff_ffff });
/** A count or an offset in bytes, exact in a double. */
export const U53 = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
/** A length in bytes; Infinity (2^64-1 on the wire) means to the end and beyond. */
export const Length = Type.Refine(
  Type.Unsafe<number>(Type.Unknown()),
  (value) => value === Infinity || (Number.isSafeInteger(value) && value >= 0),
);
export const Ino = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const Text = Type.String({ maxLength: wireLimits.textMax });

/** Between `min` and `max` bytes. */
export const bytes = (min: number, max: number) =>
  Type.Refine(
    Type.Unsafe<Uint8Array>(Type.Unknown()),
    (value) => value instanceof Uint8Array && value.length >= min && value.length <= max,
  );

export const SessionId = bytes(16, 16);
export const Verifier = bytes(8, 8);
export const Uuid = bytes(16, 16);
export const DeviceId = bytes(16, 16);
/** A bus address: 64 bits, big-endian, since it may exceed what a double holds. */
export const BusAddress = bytes(8, 8);
/** DOMAIN:BUS:DEVICE.FUNCTION in lower-case hexadecimal digits, as sysfs names it. */
export const PciAddress = Type.String({ pattern: '^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$' });
/** '.' and '..' are names here too where the operation knows them. */
export const NameBytes = bytes(1, wireLimits.nameMax);
export const Data = bytes(0, wireLimits.dataMax);

/** uid, gid, supplementary groups (AUTH_SYS style, RFC 5531 appendix A). */
export const Credentials = Type.Tuple([U32, U32, Type.Array(U32, { maxItems: wireLimits.groupsMax })]);
export type Credentials = Static<typeof Credentials>;

/** seqid and `other` (RFC 8881 §3.3.12). */
export const WireStateId = Type.Tuple([U32, bytes(12, 12)]);
export type WireStateId = Static<typeof WireStateId>;

export function stateIdToWire(stateid: StateId): WireStateId {
  return [stateid.seqid, Buffer.from(stateid.other, 'hex')];
}

export function stateIdFromWire([seqid, other]: WireStateId): StateId {
  return { seqid, other: Buffer.from(other).toString('hex') };
}

/** Seconds since 1970, may be negative, and nanoseconds. */
export const WireTime = Type.Tuple([
  Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
  Type.Integer({ minimum: 0, maximum: 999_999_999 }),
]);
export type WireTime = Static<typeof WireTime>;

const timeToWire = ({ sec, nsec }: Timespec): WireTime => [sec, nsec];
const timeFromWire = ([sec, nsec]: WireTime): Timespec => ({ sec, nsec });

/** ino, mode, nlink, uid, gid, rdev, size, blocks, atime, mtime, ctime, btime, change. */
export const WireAttr = Type.Tuple([
  Ino,
  U32,
  U32,
  U32,
  U32,
  U53,
  U53,
  U53,
  WireTime,
  WireTime,
  WireTime,
  WireTime,
  U53,
]);
export type WireAttr = Static<typeof WireAttr>;

export function attrToWire(attr: Attr): WireAttr {
  return [
    attr.ino,
    attr.mode,
    attr.nlink,
    attr.uid,
    attr.gid,
    attr.rdev,
    attr.size,
    attr.blocks,
    timeToWire(attr.atime),
    timeToWire(attr.mtime),
    timeToWire(attr.ctime),
    timeToWire(attr.btime),
    attr.change,
  ];
}

export function attrFromWire(wire: WireAttr): Attr {
  const [ino, mode, nlink, uid, gid, rdev, size, blocks, atime, mtime, ctime, btime, change] = wire;
  return {
    ino,
    mode,
    nlink,
    uid,
    gid,
    rdev,
    size,
    blocks,
    atime: timeFromWire(atime),
    mtime: timeFromWire(mtime),
    ctime: timeFromWire(ctime),
    btime: timeFromWire(btime),
    change,
  };
}

const NewTime = Type.Union([Type.Null(), Type.Literal('now'), WireTime]);
/** mode, uid, gid, size, atime, mtime; null leaves the field alone, 'now' is the server's clock. */
export const WireSetAttr = Type.Tuple([
  Type.Union([Type.Integer({ minimum: 0, maximum: 0o7777 }), Type.Null()]),
  Type.Union([U32, Type.Null()]),
  Type.Union([U32, Type.Null()]),
  Type.Union([U53, Type.Null()]),
  NewTime,
  NewTime,
]);
export type WireSetAttr = Static<typeof WireSetAttr>;

const newTimeToWire = (value: Timespec | 'now' | undefined) =>
  value === undefined || value === 'now' ? (value ?? null) : timeToWire(value);

export function setAttrToWire(changes: SetAttr): WireSetAttr {
  return [
    changes.mode ?? null,
    changes.uid ?? null,
    changes.gid ?? null,
    changes.size ?? null,
    newTimeToWire(changes.atime),
    newTimeToWire(changes.mtime),
  ];
}

export function setAttrFromWire([mode, uid, gid, size, atime, mtime]: WireSetAttr): SetAttr {
  return {
    ...(mode === null ? {} : { mode }),
    ...(uid === null ? {} : { uid }),
    ...(gid === null ? {} : { gid }),
    ...(size === null ? {} : { size }),
    ...(atime === null ? {} : { atime: atime === 'now' ? atime : timeFromWire(atime) }),
    ...(mtime === null ? {} : { mtime: mtime === 'now' ? mtime : timeFromWire(mtime) }),
  };
}

const umaskGiven = 0x0200_0000;
const umaskShift = 16;

/** Permission bits (and type bits) of what is to be created, with the umask of its creator (RFC 8275 §4.3.1, mode_umask). */
export function modeToWire(mode: number, umask: number | undefined): number {
  return umask === undefined ? mode : mode | ((umask & 0o777) << umaskShift) | umaskGiven;
}

export function modeFromWire(wire: number): { readonly mode: number; readonly umask: number | undefined } {
  const umask = (wire & umaskGiven) === 0 ? undefined : (wire >>> umaskShift) & 0o777;
  return { mode: wire & 0xffff, umask };
}

export function busAddressToWire(address: bigint): Buffer {
  const wire = Buffer.allocUnsafe(8);
  wire.writeBigUInt64BE(BigInt.asUintN(64, address));
  return wire;
}

export function busAddressFromWire(wire: Uint8Array): bigint {
  return new DataView(wire.buffer, wire.byteOffset, 8).getBigUint64(0);
}
