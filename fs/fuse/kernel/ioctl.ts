/**
 * ioctl(2), as far as it gets here. FS_IOC_FIEMAP, FICLONE and FICLONERANGE never do: the kernel asks for operations of the
 * inode that FUSE does not have (ioctl_fiemap, vfs_clone_file_range) and answers EOPNOTSUPP. The flags of files come as
 * two pairs of commands, for chattr(1) and for xfs_io(8), each in an open of the kernel's own (fuse_fileattr_get, Linux
 * 5.13); their sizes are those of its structures, not those that the command names.
 */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { after } from '../../reply.ts';
import type { Caller, MappedExtent, Reply } from '../../vfs.ts';
import { fileFlag, fsxFlag, ioctlCommand } from './abi.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Ioctl = RequestOf<'ioctl'>;

const flagsXattr = 'system.iopmemfs.flags';
/** struct fsxattr: flags, extent size, extents, project, copy-on-write extent size; the rest is padding. */
const fsxattrSize = 28;
/** struct iopmemfs_map (docs/files.md). */
const mapSize = 4096;
const mapHeader = 16;
const mapEntry = 48;
const mapEntriesMax = (mapSize - mapHeader) / mapEntry;
const mapEnds = 1;
const mapUnwritten = 1;

export function ioctl(s: Session, h: RequestHeader, r: Ioctl, by: Caller): Promise<void> | undefined {
  return s.answer(h, carryOut(s, s.swapRoot(h.nodeId), r, by), (data) => s.reply.ioctl(data));
}

/** What the caller gets to read. @throws FsError ENOTTY for a command that nobody here knows */
function carryOut(s: Session, ino: number, r: Ioctl, by: Caller): Reply<Uint8Array> {
  switch (r.command) {
    case ioctlCommand.getFlags:
      return after(getFlags(s, ino, by), (words) =>
        out(r, 4, (view) => view.setUint32(0, bitsOf(words, fileFlag), true)),
      );
    case ioctlCommand.setFlags:
      return after(setFlags(s, ino, wordsOf(input(r, 4).getUint32(0, true), fileFlag), by), nothing);
    case ioctlCommand.getFsxattr:
      return after(getFlags(s, ino, by), (words) =>
        out(r, fsxattrSize, (view) => view.setUint32(0, bitsOf(words, fsxFlag), true)),
      );
    case ioctlCommand.setFsxattr:
      return after(setFlags(s, ino, wordsOfFsxattr(input(r, fsxattrSize)), by), nothing);
    case ioctlCommand.map:
      return map(s, r, by);
    default:
      throw new FsError('ENOTTY', { op: 'ioctl', ino, detail: `command 0x${r.command.toString(16)}` });
  }
}

type Words = Readonly<Record<string, number>>;

function getFlags(s: Session, ino: number, by: Caller): Reply<readonly string[]> {
  return after(s.vfs.getxattr(ino, flagsXattr, by), (value) => Buffer.from(value).toString('latin1').split(' '));
}

function setFlags(s: Session, ino: number, words: readonly string[], by: Caller): Reply<void> {
  const set = s.vfs.setxattr(ino, flagsXattr, Buffer.from(words.join(' '), 'latin1'), 'either', by);
  return after(set, () => s.forgetAttributes(ino));
}

function bitsOf(words: readonly string[], bits: Words): number {
  return words.reduce((sum, word) => sum | (bits[word] ?? 0), 0);
}

/** @throws FsError EOPNOTSUPP for what is not kept, as ext4 answers */
function wordsOf(wanted: number, bits: Words): readonly string[] {
  const words = Object.keys(bits).filter((word) => (wanted & (bits[word] ?? 0)) !== 0);
  const rest = wanted & ~bitsOf(words, bits);
  if (rest !== 0) throw new FsError('EOPNOTSUPP', { op: 'ioctl', detail: `flags 0x${(rest >>> 0).toString(16)}` });
  return words;
}

function wordsOfFsxattr(view: DataView): readonly string[] {
  const hints = [4, 12, 16].some((at) => view.getUint32(at, true) !== 0);
  if (hints) throw new FsError('EOPNOTSUPP', { op: 'ioctl', detail: 'extent size hints and projects' });
  return wordsOf(view.getUint32(0, true), fsxFlag);
}

function map(s: Session, r: Ioctl, by: Caller): Reply<Uint8Array> {
  if (s.vfs.map === undefined) throw new FsError('ENOTTY', { op: 'ioctl' });
  const from = Math.min(Number(input(r, mapSize).getBigUint64(0, true)), limits.fileSizeMax);
  return after(s.vfs.map(r.handle, from, mapEntriesMax + 1, by), (extents) =>
    out(r, mapSize, (view) => encodeMap(view, extents)),
  );
}

function encodeMap(view: DataView, extents: readonly MappedExtent[]): void {
  const next = extents[mapEntriesMax];
  view.setBigUint64(0, BigInt(next?.offset ?? 0), true);
  view.setUint32(8, Math.min(extents.length, mapEntriesMax), true);
  view.setUint32(12, next === undefined ? mapEnds : 0, true);
  for (const [i, extent] of extents.slice(0, mapEntriesMax).entries()) {
    const at = mapHeader + i * mapEntry;
    view.setBigUint64(at, BigInt(extent.offset), true);
    view.setBigUint64(at + 8, BigInt(extent.length), true);
    view.setBigUint64(at + 16, BigInt(extent.storageOffset), true);
    view.setBigUint64(at + 24, extent.busAddress, true);
    view.setUint32(at + 32, extent.device, true);
    view.setUint32(at + 36, extent.unwritten ? mapUnwritten : 0, true);
    view.setUint32(at + 40, extent.shares, true);
  }
}

/** @throws FsError EINVAL: the caller hands over less than the command reads */
function input(r: Ioctl, length: number): DataView {
  if (r.data.byteLength < length) throw new FsError('EINVAL', { op: 'ioctl', detail: `${r.data.byteLength} bytes` });
  return new DataView(r.data.buffer, r.data.byteOffset, length);
}

/** @throws FsError EINVAL: the caller takes less than the command answers */
function out(r: Ioctl, length: number, fill: (view: DataView) => void): Uint8Array {
  if (r.outSize < length) throw new FsError('EINVAL', { op: 'ioctl', detail: `room for ${r.outSize} bytes` });
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
}

function nothing(): Uint8Array {
  return new Uint8Array(0);
}
