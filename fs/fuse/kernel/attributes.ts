/** Requests about an inode's attributes, plain and extended, and about the filesystem's. */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { after } from '../../reply.ts';
import type { Caller, Reply, SetAttr } from '../../vfs.ts';
import { withoutPrivileges } from './privileges.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Served = Promise<void> | undefined;

export function getattr(s: Session, h: RequestHeader, by: Caller): Served {
  return s.answer(h, s.vfs.getattr(s.swapRoot(h.nodeId), by), (attr) => {
    s.unapplied?.attributes(h.pid, attr.ino);
    return s.reply.attr(attr);
  });
}

export function statx(s: Session, h: RequestHeader, by: Caller): Served {
  return s.answer(h, s.vfs.getattr(s.swapRoot(h.nodeId), by), (attr) => {
    s.unapplied?.attributes(h.pid, attr.ino);
    return s.reply.statx(attr);
  });
}

export function setattr(s: Session, h: RequestHeader, r: RequestOf<'setattr'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  const size = r.changes.size;
  if (size !== undefined && size > limits.fileSizeMax) throw new FsError('EFBIG', { op: 'setattr', ino });
  s.privileges.forget(ino);
  return s.answer(
    h,
    after(allChanges(s, ino, r, by), (changes) => s.vfs.setattr(ino, changes, by, r.handle)),
    (attr) => {
      s.unapplied?.attributes(h.pid, ino);
      return s.reply.attr(attr);
    },
  );
}

/** chown(2) always takes set-user-ID and set-group-ID, truncate(2) when the kernel says so. */
function allChanges(s: Session, ino: number, r: RequestOf<'setattr'>, by: Caller): Reply<SetAttr> {
  const { changes } = r;
  if (s.vfs.takesPrivileges === true) return changes;
  const givenAway = changes.uid !== undefined || changes.gid !== undefined;
  if (changes.mode !== undefined || !(givenAway || r.killSuidgid)) return changes;
  return after(s.vfs.getattr(ino, by), (attr) => {
    // For chown(2) the kernel asks unconditionally (fuse_setattr), so that it says nothing about CAP_FSETID.
    const mayKeep = by.gid === attr.gid || (givenAway && by.uid === 0);
    const mode = withoutPrivileges(attr, mayKeep);
    return mode === undefined ? changes : { ...changes, mode };
  });
}

export function access(s: Session, h: RequestHeader, r: RequestOf<'access'>, by: Caller): Served {
  return s.done(h, s.vfs.access(s.swapRoot(h.nodeId), r.mask, by));
}

export function statfs(s: Session, h: RequestHeader): Served {
  return s.answer(h, s.vfs.statfs(s.swapRoot(h.nodeId)), (st) => s.reply.statfs(st));
}

export function setxattr(s: Session, h: RequestHeader, r: RequestOf<'setxattr'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  s.privileges.forget(ino);
  const set = s.changing(h, ino, s.vfs.setxattr(ino, r.name, r.value, r.mode, by));
  return s.done(h, r.killSgid ? after(set, () => s.privileges.takeSetgid(ino, by)) : set);
}

export function removexattr(s: Session, h: RequestHeader, r: RequestOf<'removexattr'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  return s.done(h, s.changing(h, ino, s.vfs.removexattr(ino, r.name, by)));
}

/** getxattr(2): size 0 asks for the length, a size too small is ERANGE. */
export function getxattr(s: Session, h: RequestHeader, r: RequestOf<'getxattr'>, by: Caller): Served {
  const found = s.vfs.findxattr(s.swapRoot(h.nodeId), r.name, by);
  if (found === undefined) return s.refuse(h, 'ENODATA');
  return s.answer(h, found, (value) => {
    if (value === undefined) throw new FsError('ENODATA', { op: 'getxattr', name: r.name });
    if (r.size === 0) return s.reply.count(value.byteLength);
    if (value.byteLength > r.size) throw new FsError('ERANGE', { op: 'getxattr', name: r.name });
    return s.reply.data(value);
  });
}

/** listxattr(2); a list that no buffer can take is E2BIG. */
export function listxattr(s: Session, h: RequestHeader, r: RequestOf<'listxattr'>, by: Caller): Served {
  return s.answer(h, s.vfs.listxattr(s.swapRoot(h.nodeId), by), (names) => {
    let length = 0;
    for (const name of names) length += name.length + 1;
    if (length > limits.xattrListMax) throw new FsError('E2BIG', { op: 'listxattr' });
    if (r.size === 0) return s.reply.count(length);
    if (length > r.size) throw new FsError('ERANGE', { op: 'listxattr' });
    return s.reply.names(names);
  });
}
