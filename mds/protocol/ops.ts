/**
 * Every operation with its number, arguments and results, in the order in which they stand on the wire. Numbers are
 * those of RFC 8881 §16.2, RFC 7862 and RFC 8276 where the operation exists there; ours begin at 20000.
 * docs/protocol.md says the same in words.
 */
import { type TSchema, Type } from 'typebox';
import {
  BusAddress,
  bytes,
  Credentials,
  Data,
  DeviceId,
  Ino,
  Length,
  NameBytes,
  PciAddress,
  SessionId,
  Text,
  U32,
  U53,
  Uuid,
  Verifier,
  WireAttr,
  WireSetAttr,
  WireStateId,
  WireTime,
} from './fields.ts';
import { WireFragmentation, WireJobRequest, WireJobStatus } from './jobs.ts';
import { wireLimits } from './limits.ts';
import { idempotent, operation, sessionless } from './operation.ts';
import { WireServerStatus } from './server-status.ts';

const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** eir_flags of EXCHANGE_ID (RFC 8881 §18.35). */
export const exchangeFlag = {
  USE_NON_PNFS: 0x0001_0000,
  USE_PNFS_MDS: 0x0002_0000,
  USE_PNFS_DS: 0x0004_0000,
  UPD_CONFIRMED_REC_A: 0x4000_0000,
  CONFIRMED_R: 0x8000_0000,
} as const;

/** OPEN4_SHARE_ACCESS of RFC 8881 §18.16. */
export const shareAccess = { read: 1, write: 2, both: 3 } as const;

/** What OPEN opens: the first element of its target. */
export const openTarget = { inode: 0, name: 1, create: 2, unnamed: 3 } as const;
const OpenTarget = Type.Union([
  /** ino */
  Type.Tuple([Type.Literal(openTarget.inode), Ino]),
  /** parent, name */
  Type.Tuple([Type.Literal(openTarget.name), Ino, NameBytes]),
  /** parent, name, permission bits, exclusive (EXIST if it is there) */
  Type.Tuple([Type.Literal(openTarget.create), Ino, NameBytes, U32, Type.Boolean()]),
  /** parent, permission bits (O_TMPFILE) */
  Type.Tuple([Type.Literal(openTarget.unnamed), Ino, U32]),
]);

/** What CREATE creates: nfs_ftype4 of RFC 8881 §3.2.1; `node` is any type that mknod(2) knows, in the bits of the mode. */
export const createKind = { node: 1, directory: 2, symlink: 5 } as const;
const CreateWhat = Type.Union([
  /** permission bits */
  Type.Tuple([Type.Literal(createKind.directory), U32]),
  /** target */
  Type.Tuple([Type.Literal(createKind.symlink), bytes(1, wireLimits.symlinkMax)]),
  /** st_mode with type bits, rdev */
  Type.Tuple([Type.Literal(createKind.node), U32, U53]),
]);

/** stable_how4 of RFC 8881 §18.32. */
export const stableHow = { unstable: 0, dataSync: 1, fileSync: 2 } as const;
const StableHow = Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal(2)]);

/** Index into this list is the number on the wire. */
export const renameModes = ['replace', 'noreplace', 'exchange', 'whiteout', 'noreplace-whiteout'] as const;
export const xattrModes = ['either', 'create', 'replace'] as const;
export const fallocateModes = [
  'allocate',
  'allocate-keep-size',
  'punch',
  'zero',
  'zero-keep-size',
  'collapse',
  'insert',
] as const;
export const seekWhences = ['data', 'hole'] as const;
const index = (list: readonly string[]) => Type.Integer({ minimum: 0, maximum: list.length - 1 });

/** layoutreturn_type4 and layoutrecall_type4 of RFC 8881 §3.3.22, §20.3.1. */
export const returnKind = { file: 1, fsid: 2, all: 3 } as const;
const ReturnKind = Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(3)]);
const Iomode = Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(3)]);

/** notify_deviceid_type4 of RFC 8881 §20.12. GETDEVICEINFO's `notify` has the bit 1 << type of each that is wanted. */
export const deviceChange = { change: 1, delete: 2 } as const;
/** How a PCI function reaches the device, best first (fs/bar/topology.ts). */
export const routeKinds = ['switch', 'host-bridge', 'unsupported'] as const;
/** RCA4_TYPE_MASK_OTHER_LAYOUT_MIN of RFC 8881 §20.6: layouts of a private type. */
export const recallAnyLayouts = 1 << 12;

const XattrName = bytes(1, wireLimits.nameMax);
/** offset, length in bytes of the file. */
const CommitRange = Type.Tuple([U53, U53]);
/** offset, length in bytes of the file, storage offset. */
const ReclaimRange = Type.Tuple([U53, U53, U53]);
/** state, offset, length, device, storage offset (0 for NONE_DATA); RFC 5663 §2.3. */
const LayoutExtent = Type.Tuple([
  Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal(2), Type.Literal(3)]),
  U53,
  U53,
  DeviceId,
  U53,
]);
/** offset, length in bytes of the file, storage offset, for writing too. */
const RmaPiece = Type.Tuple([U53, U53, U53, Type.Boolean()]);
/** The same, key, address of the first byte: 64 bits each, big-endian. */
const RmaKey = Type.Tuple([U53, U53, U53, Type.Boolean(), bytes(8, 8), bytes(8, 8)]);
/** name, ino, type bits of st_mode, cookie, attributes if asked for. */
const Dirent = Type.Tuple([NameBytes, Ino, U32, U53, orNull(WireAttr)]);
/** offset, length, device index, storage offset, bus address, unwritten, files that share the blocks. */
const MapExtent = Type.Tuple([U53, U53, U32, U53, BusAddress, Type.Boolean(), U32]);

/** id, directory, path, limit and use in bytes, limit and use in inodes (limits: 0 is none), in force. */
const Quota = Type.Tuple([U53, Ino, bytes(1, wireLimits.pathMax), U53, U53, U53, U53, Type.Boolean()]);

export const operations = {
  // Clients and sessions.
  /** owner, verifier, flags, implementation, longest I/O in ms, credentials for requests that carry none → client id,
   *  first sequence of CREATE_SESSION, flags, server uuid, generation, lease in ms, root inode. */
  EXCHANGE_ID: operation(
    'EXCHANGE_ID',
    42,
    [
      bytes(1, wireLimits.ownerMax),
      Verifier,
      U32,
      Type.String({ maxLength: wireLimits.implementationMax }),
      U32,
      Credentials,
      orNull(Type.String({ maxLength: wireLimits.processMax })),
    ],
    [U53, U32, U32, Uuid, U53, U32, Ino],
    sessionless,
  ),
  /** client id, sequence, slots wanted, callback slots offered → session, slots given, callback slots used, largest frame
   *  in bytes, largest READ or WRITE in bytes. */
  CREATE_SESSION: operation('CREATE_SESSION', 43, [U53, U32, U32, U32], [SessionId, U32, U32, U32, U32], sessionless),
  /** session */
  BIND_CONN_TO_SESSION: operation('BIND_CONN_TO_SESSION', 41, [SessionId], [], sessionless),
  /** session */
  DESTROY_SESSION: operation('DESTROY_SESSION', 44, [SessionId], [], sessionless),
  /** client id */
  DESTROY_CLIENTID: operation('DESTROY_CLIENTID', 57, [U53], [], sessionless),
  SEQUENCE: operation('SEQUENCE', 53, [], [], idempotent),
  RECLAIM_COMPLETE: operation('RECLAIM_COMPLETE', 58, [], []),
  /** stateid */
  FREE_STATEID: operation('FREE_STATEID', 45, [WireStateId], []),
  /** stateids → a status number for each */
  TEST_STATEID: operation(
    'TEST_STATEID',
    55,
    [Type.Array(WireStateId, { maxItems: wireLimits.testStateidsMax })],
    [Type.Array(U32, { maxItems: wireLimits.testStateidsMax })],
    idempotent,
  ),

  // Names and attributes.
  /** parent, name → attributes */
  LOOKUP: operation('LOOKUP', 15, [Ino, NameBytes], [WireAttr], idempotent),
  /** directory → attributes of its parent */
  LOOKUPP: operation('LOOKUPP', 16, [Ino], [WireAttr], idempotent),
  /** ino → attributes */
  GETATTR: operation('GETATTR', 9, [Ino], [WireAttr], idempotent),
  /** ino, open stateid (needed to change the size without write permission) or null, changes → attributes */
  SETATTR: operation('SETATTR', 34, [Ino, orNull(WireStateId), WireSetAttr], [WireAttr]),
  /** ino, mask of access(2): 4 read, 2 write, 1 execute */
  ACCESS: operation('ACCESS', 3, [Ino, Type.Integer({ minimum: 0, maximum: 7 })], [], idempotent),
  /** directory, cookie (0: from the start), most entries, with attributes → entries, no more follow */
  READDIR: operation(
    'READDIR',
    26,
    [Ino, U53, Type.Integer({ minimum: 1, maximum: wireLimits.direntsMax }), Type.Boolean()],
    [Type.Array(Dirent, { maxItems: wireLimits.direntsMax }), Type.Boolean()],
    idempotent,
  ),
  /** ino → target */
  READLINK: operation('READLINK', 27, [Ino], [bytes(0, wireLimits.symlinkMax)], idempotent),
  /** parent, name, what → attributes */
  CREATE: operation('CREATE', 6, [Ino, NameBytes, CreateWhat], [WireAttr]),
  /** parent, name, it is a directory */
  REMOVE: operation('REMOVE', 28, [Ino, NameBytes, Type.Boolean()], []),
  /** parent, name, new parent, new name, mode (renameModes) */
  RENAME: operation('RENAME', 29, [Ino, NameBytes, Ino, NameBytes, index(renameModes)], []),
  /** ino, parent, name → attributes */
  LINK: operation('LINK', 11, [Ino, Ino, NameBytes], [WireAttr]),
  /** ino, name → value */
  GETXATTR: operation('GETXATTR', 72, [Ino, XattrName], [bytes(0, wireLimits.xattrValueMax)], idempotent),
  /** ino, name, value, mode (xattrModes) */
  SETXATTR: operation('SETXATTR', 73, [Ino, XattrName, bytes(0, wireLimits.xattrValueMax), index(xattrModes)], []),
  /** ino → names */
  LISTXATTRS: operation(
    'LISTXATTRS',
    74,
    [Ino],
    [Type.Array(XattrName, { maxItems: wireLimits.xattrsMax })],
    idempotent,
  ),
  /** ino, name */
  REMOVEXATTR: operation('REMOVEXATTR', 75, [Ino, XattrName], []),

  // Open files and their data.
  /** target, access (shareAccess), truncate, append → open stateid, attributes */
  OPEN: operation(
    'OPEN',
    18,
    [OpenTarget, Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(3)]), Type.Boolean(), Type.Boolean()],
    [WireStateId, WireAttr],
  ),
  /** open stateid */
  CLOSE: operation('CLOSE', 4, [WireStateId], []),
  /** open stateid, offset, most bytes → data, end of file reached */
  READ: operation(
    'READ',
    25,
    [WireStateId, U53, Type.Integer({ minimum: 0, maximum: wireLimits.dataMax })],
    [Data, Type.Boolean()],
    idempotent,
  ),
  /** open stateid, offset, stability wanted, data → bytes written, stability reached, write verifier */
  WRITE: operation('WRITE', 38, [WireStateId, U53, StableHow, Data], [U32, StableHow, Verifier]),
  /** ino, data only (fdatasync) → write verifier */
  COMMIT: operation('COMMIT', 5, [Ino, Type.Boolean()], [Verifier], idempotent),
  /** open stateid, mode (fallocateModes), offset, length */
  FALLOCATE: operation('FALLOCATE', 20004, [WireStateId, index(fallocateModes), U53, U53], []),
  /** open stateid, offset, what (seekWhences) → offset */
  SEEK: operation('SEEK', 69, [WireStateId, U53, index(seekWhences)], [U53], idempotent),
  /** open stateid and offset of the source, those of the target, length → bytes copied */
  COPY: operation('COPY', 60, [WireStateId, U53, WireStateId, U53, U53], [U53]),

  // Layouts.
  /** ino, open or layout stateid, iomode, offset, length, minlength, most extents, signal when there is one → layout
   *  stateid, segment granted (iomode, offset, length), its extents, return it before the last close. LAYOUTTRYLATER
   *  has results too: the server will signal */
  LAYOUTGET: operation(
    'LAYOUTGET',
    50,
    [
      Ino,
      WireStateId,
      U32,
      U53,
      Length,
      Length,
      Type.Integer({ minimum: 1, maximum: wireLimits.extentsMax }),
      Type.Boolean(),
    ],
    [
      WireStateId,
      Type.Tuple([Type.Union([Type.Literal(1), Type.Literal(2)]), U53, Length]),
      Type.Array(LayoutExtent, { maxItems: wireLimits.extentsMax }),
      Type.Boolean(),
    ],
  ),
  /** ino, layout stateid, ranges, offset of the last byte written or null, mtime or null, null → new size if it changed.
   *  Of the former run: ino, null, none, offset of the last byte written or null, mtime or null, where it was written */
  LAYOUTCOMMIT: operation(
    'LAYOUTCOMMIT',
    49,
    [
      Ino,
      orNull(WireStateId),
      Type.Array(CommitRange, { maxItems: wireLimits.commitRangesMax }),
      orNull(U53),
      orNull(WireTime),
      orNull(Type.Array(ReclaimRange, { maxItems: wireLimits.commitRangesMax })),
    ],
    [orNull(U53)],
  ),
  /** kind (returnKind); for `file`: ino, layout stateid, iomode, offset, length; otherwise null, null, iomode, 0, max;
   *  of the former run (`file` only, no stateid) → layout stateid or null: nothing is left */
  LAYOUTRETURN: operation(
    'LAYOUTRETURN',
    51,
    [ReturnKind, orNull(Ino), orNull(WireStateId), U32, U53, Length, Type.Boolean()],
    [orNull(WireStateId)],
  ),
  /** device id or null: that of the filesystem, changes to be told of (bits 1 << deviceChange; the last request counts, 0: none) → uuid of the filesystem on it, path on the server's host, kind, size in bytes, block size, access width,
   *  bus address of byte 0 (0: none), generation, key of this client */
  GETDEVICEINFO: operation(
    'GETDEVICEINFO',
    47,
    [orNull(DeviceId), U32],
    [Uuid, Text, Text, U53, U32, U32, BusAddress, U53, bytes(16, 16)],
    idempotent,
  ),
  /** device id, or null: that of the filesystem → byte of the device, and the fresh random bytes that the server has just written there */
  DEVICE_CHALLENGE: operation('DEVICE_CHALLENGE', 20050, [orNull(DeviceId)], [U53, bytes(32, 32)], idempotent),
  /** PCI address of the function that is to read and write the device, or null: loads and stores of a processor → may have layouts, route
   *  (routeKinds) and distance or null: none could be made out, why, bus address of byte 0 for this client (0: none) */
  CLIENT_DEVICE: operation(
    'CLIENT_DEVICE',
    20058,
    [orNull(PciAddress)],
    [Type.Boolean(), orNull(index(routeKinds)), orNull(U53), Text, BusAddress],
  ),

  // One-sided access by keys.
  /** provider, address of the client there → address of the server for it. Replaces what it had */
  RMA_ATTACH: operation(
    'RMA_ATTACH',
    20054,
    [Type.String({ maxLength: wireLimits.rmaProviderMax }), bytes(1, wireLimits.rmaAddressMax)],
    [bytes(1, wireLimits.rmaAddressMax)],
  ),
  /** ino, pieces that are held → the same with their keys, those that cross a GiB of the device in several */
  RMA_REGISTER: operation(
    'RMA_REGISTER',
    20055,
    [Ino, Type.Array(RmaPiece, { minItems: 1, maxItems: wireLimits.extentsMax })],
    [Type.Array(RmaKey, { maxItems: 2 * wireLimits.extentsMax })],
  ),
  /** All keys, and the address, are void when the answer comes */
  RMA_RELEASE: operation('RMA_RELEASE', 20056, [], [], idempotent),

  // Memory of the device for a session.
  /** how many, bytes of each, alignment in bytes → state of all buffers of the client, device, byte of it where each begins */
  BUFFERS_ALLOC: operation(
    'BUFFERS_ALLOC',
    20051,
    [Type.Integer({ minimum: 1, maximum: wireLimits.buffersMax }), U53, U53],
    [WireStateId, DeviceId, Type.Array(U53, { maxItems: wireLimits.buffersMax })],
  ),
  /** where each begins */
  BUFFERS_FREE: operation('BUFFERS_FREE', 20052, [Type.Array(U53, { maxItems: wireLimits.buffersMax })], []),

  // The filesystem as a whole.
  /** ino, offset to start from → extents of the file, none follow (otherwise ask again from the end of the last) */
  MAP: operation(
    'MAP',
    20000,
    [Ino, U53],
    [Type.Array(MapExtent, { maxItems: wireLimits.mapExtentsMax }), Type.Boolean()],
    idempotent,
  ),
  /** ino, parent, name → attributes of the new file on the same blocks */
  CLONE: operation('CLONE', 20001, [Ino, Ino, NameBytes], [WireAttr]),
  /** directory, parent, name → attributes of the new directory with everything below it, on the same blocks */
  CLONE_TREE: operation('CLONE_TREE', 20020, [Ino, Ino, NameBytes], [WireAttr]),
  /** → state of the filesystem and of the server */
  STATUS: operation('STATUS', 20002, [], [WireServerStatus], sessionless),
  /** inode whose quota counts, or null → block size, blocks, free, available, files, files free, longest name */
  STATFS: operation('STATFS', 20003, [orNull(Ino)], [U32, U53, U53, U53, U53, U53, U32], idempotent),
  SYNCFS: operation('SYNCFS', 20005, [], [], idempotent),
  /** client id: it is dead, says the administrator (uid 0) */
  EVICT: operation(
    'EVICT',
    20006,
    [Type.Union([U53, bytes(1, wireLimits.ownerMax)])],
    [Type.Array(U53, { maxItems: wireLimits.evictedMax })],
  ),
  /** client id → its layouts, which it loses at once, says the administrator; it stays what it is */
  REVOKE: operation('REVOKE', 20008, [U53], [U32]),
  /** client or null (all), inode or null (all that they hold), offset, length: layouts are asked back (uid 0) */
  RECALL: operation('RECALL', 20007, [orNull(U53), orNull(Ino), U53, Length], []),
  /** hundredths of a percent of the blocks that are kept for root, or null: as it is */
  TUNE: operation('TUNE', 20013, [orNull(U32)], []),
  /** directory, most bytes, most inodes (0: no limit) → in force, inodes counted so far: if not, ask again */
  QUOTA_SET: operation('QUOTA_SET', 20010, [Ino, U53, U53], [Type.Boolean(), U53]),
  /** directory */
  QUOTA_REMOVE: operation('QUOTA_REMOVE', 20011, [Ino], []),
  /** inode (the quota it counts in) or null (all), id after which to start → quotas, no more follow */
  QUOTA_LIST: operation(
    'QUOTA_LIST',
    20012,
    [orNull(Ino), U53],
    [Type.Array(Quota, { maxItems: wireLimits.quotasMax }), Type.Boolean()],
    idempotent,
  ),

  /** ino, size in bytes or null (as it is), alignment in bytes: in one piece that is never moved */
  PIN: operation('PIN', 20053, [Ino, orNull(U53), U53], []),
  /** ino */
  UNPIN: operation('UNPIN', 20057, [Ino], []),

  // Long work on the filesystem.
  /** what to do → its number */
  JOB_START: operation('JOB_START', 20040, [WireJobRequest], [U53]),
  /** → the job that runs or ran last, null: there was none */
  JOB_STATUS: operation('JOB_STATUS', 20041, [], [orNull(WireJobStatus)], idempotent),
  /** number of the job */
  JOB_CANCEL: operation('JOB_CANCEL', 20042, [U53], []),
  /** → how scattered files and free space are */
  FRAGMENTATION: operation('FRAGMENTATION', 20043, [], [WireFragmentation], idempotent),
} as const;

export type OperationName = keyof typeof operations;

/** What the server asks of a client, over a connection of its session. Answered by a status alone. */
export const callbacks = {
  /**
   * kind (returnKind); for `file`: ino, layout stateid, iomode (3: any), offset, length; otherwise null, null, 3, 0, max;
   * changed: the blocks are about to move (RFC 8881 §20.3)
   */
  CB_LAYOUTRECALL: operation(
    'CB_LAYOUTRECALL',
    5,
    [ReturnKind, orNull(Ino), orNull(WireStateId), Iomode, U53, Length, Type.Boolean()],
    [],
  ),
  /** layouts to keep at most, mask of what is meant: bit 12, layouts (RFC 8881 §20.6) */
  CB_RECALL_ANY: operation('CB_RECALL_ANY', 8, [U32, U32], []),
  /** ino: the layout that was refused is to be had (RFC 8881 §20.7) */
  CB_RECALLABLE_OBJ_AVAIL: operation('CB_RECALLABLE_OBJ_AVAIL', 9, [Ino], []),
  /** state of the buffers, where each begins that is asked back: it is to be freed */
  CB_BUFFERS_RECALL: operation(
    'CB_BUFFERS_RECALL',
    20100,
    [WireStateId, Type.Array(U53, { maxItems: wireLimits.buffersMax })],
    [],
  ),
  /** what happened to devices: type (deviceChange), device, at once (RFC 8881 §20.12) */
  CB_NOTIFY_DEVICEID: operation(
    'CB_NOTIFY_DEVICEID',
    14,
    [
      Type.Array(Type.Tuple([Type.Union([Type.Literal(1), Type.Literal(2)]), DeviceId, Type.Boolean()]), {
        maxItems: wireLimits.deviceChangesMax,
      }),
    ],
    [],
  ),
} as const;

export type CallbackName = keyof typeof callbacks;
