/**
 * Requests of the kernel, decoded. Pure: bytes in, values out. The kernel is trusted no further than its bytes go:
 * whatever is short, unterminated or out of range throws, and nothing is read outside the request.
 */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { type Name, nameFromLatin1 } from '../../name.ts';
import type { Handle, SetAttr, Timespec } from '../../vfs.ts';
import {
  extension,
  fsyncDataOnly,
  initFlag,
  opcode,
  openFlag,
  openKillSuidgid,
  seekData,
  seekHole,
  setattrValid,
  setxattrKillSgid,
  writeCache,
  writeKillSuidgid,
  xattrFlag,
} from './abi.ts';
import type { Cursor } from './cursor.ts';
import type { Agreed } from './init.ts';
import { fallocateMode, renameMode } from './modes.ts';
import type { Request, RequestHeader } from './request.ts';

/**
 * struct fuse_in_header, with which every request starts.
 * @throws FsError EPROTO when it is not there or lies about the length: such a request cannot even be answered
 */
export function decodeHeader(c: Cursor): RequestHeader {
  const length = c.u32();
  if (length !== c.length) throw new FsError('EPROTO', { detail: `request of ${c.length} bytes says ${length}` });
  const header = {
    opcode: c.u32(),
    unique: c.u64(),
    nodeId: c.u64(),
    uid: c.u32(),
    gid: c.u32(),
    pid: c.u32(),
    extensions: c.u16(),
  };
  c.skip(2);
  return header;
}

const noGroups: readonly number[] = [];

/**
 * Supplementary groups of the caller that stand behind the arguments, which are cut off there: of those that make a
 * file the one that the directory has (FUSE_CREATE_SUPP_GROUP).
 * @throws FsError EPROTO for what was not negotiated
 */
export function decodeGroups(header: RequestHeader, c: Cursor): readonly number[] {
  if (header.extensions === 0) return noGroups;
  const groups: number[] = [];
  const tail = c.cut(header.extensions * 8);
  while (tail.remaining > 0) {
    const size = tail.u32();
    const type = tail.u32();
    if (size < 8 || size % 8 !== 0) throw new FsError('EPROTO', { detail: `extension of ${size} bytes` });
    const body = tail.split(size - 8);
    if (type !== extension.groups) throw new FsError('EPROTO', { detail: `extension ${type} was not negotiated` });
    for (let left = body.u32(); left > 0; left--) groups.push(body.u32());
  }
  return groups;
}

/**
 * What follows the header.
 * @throws FsError EPROTO when it is short; ESTALE for a node that cannot be; EINVAL, ENAMETOOLONG, ERANGE or EOPNOTSUPP as the system call would answer
 */
export function decodeRequest(header: RequestHeader, c: Cursor, agreed: Pick<Agreed, 'longSetxattr'>): Request {
  requireNode(header.nodeId);
  if (header.opcode === opcode.setxattr) return setxattr(c, agreed.longSetxattr);
  const decoder = decoders.get(header.opcode);
  return decoder === undefined ? unsupported : decoder(c);
}

const unsupported: Request = { op: 'unsupported' };

const decoders: ReadonlyMap<number, (c: Cursor) => Request> = new Map<number, (c: Cursor) => Request>([
  [opcode.init, init],
  [opcode.destroy, () => ({ op: 'destroy' })],
  [opcode.statfs, () => ({ op: 'statfs' })],
  [opcode.readlink, () => ({ op: 'readlink' })],
  [opcode.syncfs, () => ({ op: 'syncfs' })],
  [opcode.lookup, (c) => ({ op: 'lookup', name: entryName(c) })],
  [opcode.forget, (c) => ({ op: 'forget', count: c.u64() })],
  [opcode.batchForget, batchForget],
  [opcode.getattr, (c) => skipped(c, 16, { op: 'getattr' })],
  [opcode.statx, (c) => skipped(c, 24, { op: 'statx' })],
  [opcode.setattr, setattr],
  // The name comes before the target (fuse_symlink).
  [opcode.symlink, (c) => ({ op: 'symlink', name: newName(c), target: c.string(limits.symlinkMax).slice() })],
  [opcode.mknod, mknod],
  [opcode.mkdir, mkdir],
  [opcode.unlink, (c) => ({ op: 'unlink', name: newName(c) })],
  [opcode.rmdir, (c) => ({ op: 'rmdir', name: newName(c) })],
  [opcode.rename, (c) => rename(c, false)],
  [opcode.rename2, (c) => rename(c, true)],
  [opcode.link, (c) => ({ op: 'link', nodeId: node(c), name: newName(c) })],
  [opcode.open, (c) => ({ op: 'open', flags: c.u32(), killSuidgid: (c.u32() & openKillSuidgid) !== 0 })],
  [opcode.opendir, (c) => skipped(c, 8, { op: 'opendir' })],
  [opcode.create, create],
  [opcode.tmpfile, tmpfile],
  [opcode.read, (c) => ({ op: 'read', handle: handle(c), offset: c.u64(), size: c.u32() })],
  [opcode.readdir, (c) => ({ op: 'readdir', handle: handle(c), offset: c.u64(), size: c.u32() })],
  [opcode.readdirplus, (c) => ({ op: 'readdirplus', handle: handle(c), offset: c.u64(), size: c.u32() })],
  [opcode.write, write],
  [opcode.flush, (c) => skipped(c, 16, { op: 'flush', handle: handle(c) })],
  [opcode.release, (c) => ({ op: 'release', handle: handle(c) })],
  [opcode.releasedir, (c) => ({ op: 'releasedir', handle: handle(c) })],
  [opcode.fsync, (c) => ({ op: 'fsync', dataOnly: dataOnly(c) })],
  [opcode.fsyncdir, (c) => ({ op: 'fsyncdir', dataOnly: dataOnly(c) })],
  [opcode.getxattr, getxattr],
  [opcode.listxattr, (c) => ({ op: 'listxattr', size: c.u32() })],
  [opcode.removexattr, (c) => ({ op: 'removexattr', name: xattrName(c) })],
  [opcode.access, (c) => ({ op: 'access', mask: c.u32() })],
  [opcode.fallocate, fallocate],
  [opcode.lseek, lseek],
  [opcode.copyFileRange, (c) => copyFileRange(c, false)],
  [opcode.copyFileRange64, (c) => copyFileRange(c, true)],
  [opcode.interrupt, (c) => ({ op: 'interrupt', unique: c.u64() })],
  [opcode.ioctl, ioctl],
  [opcode.notifyReply, () => ({ op: 'notifyReply' })],
  // Whole, or refused as any other, although the answer is the same whatever they say (serve.ts).
  [opcode.getlk, (c) => skipped(c, 48, unsupported)],
  [opcode.setlk, (c) => skipped(c, 48, unsupported)],
  [opcode.setlkw, (c) => skipped(c, 48, unsupported)],
  [opcode.bmap, (c) => skipped(c, 16, unsupported)],
  [opcode.poll, (c) => skipped(c, 24, unsupported)],
  [opcode.setupMapping, (c) => skipped(c, 40, unsupported)],
  [opcode.removeMapping, (c) => skipped(c, 4, unsupported)],
]);

function init(c: Cursor): Request {
  const first = { major: c.u32(), minor: c.u32(), maxReadahead: c.u32(), flags: c.u32() };
  return { op: 'init', ...first, flags2: first.flags & initFlag.initExt ? c.u32() : 0 };
}

function batchForget(c: Cursor): Request {
  const count = c.u32();
  c.skip(4);
  const forgets: { nodeId: number; count: number }[] = [];
  for (let i = 0; i < count; i++) forgets.push({ nodeId: node(c), count: c.u64() });
  return { op: 'batchForget', forgets };
}

/** A request whose arguments (`length` bytes) say nothing that the header does not. */
function skipped(c: Cursor, length: number, request: Request): Request {
  c.skip(length);
  return request;
}

function setattr(c: Cursor): Request {
  const valid = c.u32();
  c.skip(4);
  const fh = handle(c);
  const size = c.u64();
  c.skip(8); // lock owner
  const atimeSec = c.i64();
  const mtimeSec = c.i64();
  c.skip(8); // ctime is the server's own
  const atimeNsec = c.u32();
  const mtimeNsec = c.u32();
  c.skip(4);
  const mode = c.u32();
  c.skip(4);
  const uid = c.u32();
  const gid = c.u32();
  const changes: { -readonly [K in keyof SetAttr]: SetAttr[K] } = {};
  if (valid & setattrValid.mode) changes.mode = mode & 0o7777;
  if (valid & setattrValid.uid) changes.uid = uid;
  if (valid & setattrValid.gid) changes.gid = gid;
  if (valid & setattrValid.size) changes.size = size;
  // UTIME_OMIT leaves both bits out; UTIME_NOW sets both (fuse: iattr_to_fattr).
  if (valid & setattrValid.atime) changes.atime = valid & setattrValid.atimeNow ? 'now' : timespec(atimeSec, atimeNsec);
  if (valid & setattrValid.mtime) changes.mtime = valid & setattrValid.mtimeNow ? 'now' : timespec(mtimeSec, mtimeNsec);
  return {
    op: 'setattr',
    changes,
    handle: valid & setattrValid.handle ? fh : undefined,
    killSuidgid: (valid & setattrValid.killSuidgid) !== 0,
  };
}

function mknod(c: Cursor): Request {
  const mode = c.u32();
  const rdev = c.u32();
  const umask = c.u32();
  c.skip(4);
  return { op: 'mknod', mode, umask, rdev, name: newName(c) };
}

function mkdir(c: Cursor): Request {
  const mode = c.u32();
  return { op: 'mkdir', mode, umask: c.u32(), name: newName(c) };
}

function rename(c: Cursor, flagged: boolean): Request {
  const toParent = node(c);
  const flags = flagged ? c.u32() : 0;
  if (flagged) c.skip(4);
  const mode = renameMode(flags);
  return { op: 'rename', toParent, mode, name: newName(c), toName: newName(c) };
}

function create(c: Cursor): Request {
  const flags = c.u32();
  const mode = c.u32();
  const umask = c.u32();
  c.skip(4); // open_flags concern only a file that exists
  return { op: 'create', flags, mode, umask, name: newName(c) };
}

/** struct fuse_create_in; the name that follows it is the kernel's placeholder "/" and says nothing. */
function tmpfile(c: Cursor): Request {
  const flags = c.u32();
  return { op: 'tmpfile', flags, mode: c.u32(), umask: c.u32() };
}

function write(c: Cursor): Request {
  const fh = handle(c);
  const offset = c.u64();
  const size = c.u32();
  const flags = c.u32();
  c.skip(8); // lock owner
  const openFlags = c.u32();
  c.skip(4);
  return {
    op: 'write',
    handle: fh,
    offset,
    data: c.bytes(size),
    killSuidgid: (flags & writeKillSuidgid) !== 0,
    appends: (openFlags & openFlag.append) !== 0 && (flags & writeCache) === 0,
    syncs: (openFlags & openFlag.sync) !== 0 ? 'all' : (openFlags & openFlag.dsync) !== 0 ? 'data' : undefined,
  };
}

function dataOnly(c: Cursor): boolean {
  c.skip(8);
  return (c.u32() & fsyncDataOnly) !== 0;
}

function setxattr(c: Cursor, isLong: boolean): Request {
  const size = c.u32();
  const flags = c.u32();
  const own = isLong ? c.u32() : 0;
  if (isLong) c.skip(4);
  const name = xattrName(c);
  if (size > limits.xattrValueMax) throw new FsError('E2BIG', { op: 'setxattr', name });
  if (flags !== 0 && flags !== xattrFlag.create && flags !== xattrFlag.replace) {
    throw new FsError('EINVAL', { op: 'setxattr', detail: `flags ${flags}` });
  }
  const mode = flags === 0 ? 'either' : flags === xattrFlag.create ? 'create' : 'replace';
  return { op: 'setxattr', name, mode, value: c.bytes(size).slice(), killSgid: (own & setxattrKillSgid) !== 0 };
}

function getxattr(c: Cursor): Request {
  const size = c.u32();
  c.skip(4);
  return { op: 'getxattr', size, name: xattrName(c) };
}

function fallocate(c: Cursor): Request {
  const fh = handle(c);
  const offset = c.u64();
  const length = c.u64();
  const flags = c.u32();
  return { op: 'fallocate', handle: fh, offset, length, mode: fallocateMode(flags) };
}

function lseek(c: Cursor): Request {
  const fh = handle(c);
  const offset = c.u64();
  const whence = c.u32();
  if (whence !== seekData && whence !== seekHole)
    throw new FsError('EINVAL', { op: 'lseek', detail: `whence ${whence}` });
  return { op: 'lseek', handle: fh, offset, whence: whence === seekData ? 'data' : 'hole' };
}

function copyFileRange(c: Cursor, wide: boolean): Request {
  const from = handle(c);
  const fromOffset = c.u64();
  const toNodeId = node(c);
  const to = handle(c);
  const toOffset = c.u64();
  const length = c.u64();
  if (c.u64() !== 0) throw new FsError('EINVAL', { op: 'copy_file_range', detail: 'flags' });
  return { op: 'copyFileRange', wide, from, fromOffset, to, toOffset, length, toNodeId };
}

/** struct fuse_ioctl_in; the address in the caller's memory is the kernel's to know. */
function ioctl(c: Cursor): Request {
  const fh = handle(c);
  c.skip(4); // of a directory, of a 32-bit caller: said by the node, and of no importance to what is known here
  const command = c.u32();
  c.skip(8);
  const inSize = c.u32();
  return { op: 'ioctl', handle: fh, command, outSize: c.u32(), data: c.bytes(inSize).slice() };
}

function timespec(sec: number, nsec: number): Timespec {
  if (nsec > 999_999_999) throw new FsError('EINVAL', { op: 'setattr', detail: `${nsec} ns` });
  return { sec, nsec };
}

/** An inode's number, which the kernel got from a reply. @throws FsError ESTALE: no reply of ours held it */
function node(c: Cursor): number {
  const nodeId = c.u64();
  requireNode(nodeId);
  return nodeId;
}

function requireNode(nodeId: number): void {
  if (nodeId > Number.MAX_SAFE_INTEGER) throw new FsError('ESTALE', { ino: nodeId });
}

/** The kernel gives back what a reply gave it; whether it names an open file is the filesystem's to say. */
function handle(c: Cursor): Handle {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the number of a Handle comes back
  return c.u64() as Handle;
}

/** LOOKUP also asks for '.' and '..' (FUSE_EXPORT_SUPPORT: file handles of nfsd and open_by_handle_at). */
function entryName(c: Cursor): Name | '.' | '..' {
  const text = c.latin1(limits.nameMax);
  return text === '.' || text === '..' ? text : nameFromLatin1(text);
}

function newName(c: Cursor): Name {
  const name = entryName(c);
  if (name === '.' || name === '..') throw new FsError('EINVAL', { name });
  return name;
}

/** Bytes in latin1, as Vfs has them. @throws FsError ERANGE as setxattr(2) for an empty or too long name */
function xattrName(c: Cursor): string {
  const bytes = c.string(c.remaining);
  if (bytes.length === 0 || bytes.length > limits.xattrNameMax) throw new FsError('ERANGE', { op: 'xattr' });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
