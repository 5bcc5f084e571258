/** Requests about a file's bytes. */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { after } from '../../reply.ts';
import type { Caller, Reply } from '../../vfs.ts';
import { openFlag } from './abi.ts';
import { isDue } from './access-times.ts';
import { kernelLimits } from './limits.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Served = Promise<void> | undefined;

/**
 * O_CREAT and O_EXCL were CREATE's. Cached pages outlive the open, unless
 * the next read has to be seen here (access-times.ts): what changes behind the kernel is invalidated.
 */
export function open(s: Session, h: RequestHeader, r: RequestOf<'open'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  const killed = r.killSuidgid ? s.privileges.kill(ino, by) : undefined;
  const flags = r.flags & ~(openFlag.creat | openFlag.excl);
  const isReader = (flags & openFlag.accessMode) !== openFlag.writeOnly;
  const watched =
    isReader && by.atime !== 'never' ? after(s.vfs.getattr(ino, by), (attr) => isDue(attr, by.atime)) : false;
  return s.opened(
    h,
    after(watched, (isWatched) =>
      after(killed, () =>
        after(s.vfs.open(ino, flags, by), (handle) => {
          const keepsPages = !isWatched && s.vfs.keepsPages?.(handle) !== false;
          const file = { handle, ino, flags, keepsPages };
          // Last, so that no write begins between it and the reply.
          return after(s.files.admit(ino, flags), () => file);
        }),
      ),
    ),
  );
}

/** Where close(2) has nothing left to do the kernel saves the round trip after one ENOSYS. */
export function flush(s: Session, h: RequestHeader, r: RequestOf<'flush'>): Served {
  if (s.vfs.flush === undefined) throw new FsError('ENOSYS');
  return s.done(h, s.vfs.flush(r.handle));
}

export function read(s: Session, h: RequestHeader, r: RequestOf<'read'>, by: Caller): Served {
  const offset = Math.min(r.offset, limits.fileSizeMax);
  const size = Math.min(r.size, kernelLimits.dataMax, limits.fileSizeMax - offset);
  s.files.reading(r.handle, offset, size);
  return s.data(h, (use) => s.vfs.read(r.handle, offset, size, by, use));
}

export function write(s: Session, h: RequestHeader, r: RequestOf<'write'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  requireWithinFile('write', ino, r.offset, r.data.byteLength);
  const isPastPages = s.files.isPastPages(r.handle);
  const killed = killForWrite(s, ino, isPastPages, r.killSuidgid, by);
  let written = killed instanceof Promise ? after(killed, () => toVfs(s, r, by)) : toVfs(s, r, by);
  if (r.syncs !== undefined && (isPastPages || s.directIo)) written = synced(s, ino, r.syncs, written);
  if (isPastPages && written instanceof Promise) s.files.writing(r.handle, written);
  return s.answer(h, s.changing(h, ino, written), (count) => s.reply.count(count));
}

function toVfs(s: Session, { handle, offset, data, appends }: RequestOf<'write'>, by: Caller): Reply<number> {
  const at = appends ? 'as-opened' : 'offset';
  const end = appends ? Infinity : offset + data.byteLength;
  if (!s.files.meetsPages(handle, offset, end) || s.vfs.writePastPages === undefined) {
    return s.vfs.write(handle, offset, data, by, at);
  }
  return s.vfs.writePastPages(handle, offset, data, by, at);
}

/** O_SYNC, O_DSYNC: the kernel goes on to FSYNC by itself, but not where it writes past its pages (fuse_direct_write_iter). */
function synced(s: Session, ino: number, how: 'data' | 'all', written: Reply<number>): Reply<number> {
  return after(written, (count) => after(s.vfs.fsync(ino, how === 'data'), () => count));
}

export function fallocate(s: Session, h: RequestHeader, r: RequestOf<'fallocate'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  requireWithinFile('fallocate', ino, r.offset, r.length);
  const killed = killForUsers(s, ino, by);
  return s.done(
    h,
    after(killed, () => s.changing(h, ino, s.vfs.fallocate(r.handle, r.mode, r.offset, r.length, by))),
  );
}

export function lseek(s: Session, h: RequestHeader, r: RequestOf<'lseek'>, by: Caller): Served {
  if (r.offset > limits.fileSizeMax) throw new FsError('ENXIO', { op: 'lseek' });
  return s.answer(h, s.vfs.seek(r.handle, r.offset, r.whence, by), (offset) => s.reply.offset(offset));
}

export function copyFileRange(s: Session, h: RequestHeader, r: RequestOf<'copyFileRange'>, by: Caller): Served {
  const target = s.swapRoot(r.toNodeId);
  requireWithinFile('copy_file_range', target, r.toOffset, 0);
  const fromOffset = Math.min(r.fromOffset, limits.fileSizeMax);
  const room = limits.fileSizeMax - Math.max(fromOffset, r.toOffset);
  const length = Math.min(r.length, r.wide ? room : Math.min(room, narrowCopyMax));
  const killed = killForUsers(s, target, by);
  return s.answer(
    h,
    after(killed, () => s.vfs.copyRange(r.from, fromOffset, r.to, r.toOffset, length, by)),
    (copied) => (r.wide ? s.reply.offset(copied) : s.reply.count(copied)),
  );
}

/** COPY_FILE_RANGE counts in 32 bits; COPY_FILE_RANGE_64 (7.45) does not. */
const narrowCopyMax = 2 ** 32 - limits.blockSize;

function killForWrite(s: Session, ino: number, isPastPages: boolean, takesBits: boolean, by: Caller): Reply<void> {
  if (isPastPages || s.directIo) return s.privileges.killForDirectWrite(ino, by, takesBits);
  return takesBits ? s.privileges.kill(ino, by) : undefined;
}

/** These requests do not say whether the caller lacks CAP_FSETID; root is taken to have it. */
function killForUsers(s: Session, ino: number, by: Caller) {
  return by.uid === 0 ? undefined : s.privileges.kill(ino, by);
}

function requireWithinFile(op: string, ino: number, offset: number, length: number): void {
  if (offset + length > limits.fileSizeMax) throw new FsError('EFBIG', { op, ino, range: { offset, length } });
}
