/** Requests about names: lookups, and everything that makes or moves directory entries. */
import { after } from '../../reply.ts';
import type { Attr, Caller, Handle } from '../../vfs.ts';
import { openFlag } from './abi.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Served = Promise<void> | undefined;

/** '.' is asked of files too: the kernel has a number, of a file handle, and wants its inode (fuse_get_dentry). */
export function lookup(s: Session, h: RequestHeader, r: RequestOf<'lookup'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  if (r.name === '.') return s.entry(h, s.vfs.getattr(ino, by));
  const found = s.vfs.find(ino, r.name, by);
  if (found === undefined) return s.refuse(h, 'ENOENT');
  return s.entry(h, found instanceof Promise ? found.then((attr) => attr ?? s.vfs.lookup(ino, r.name, by)) : found);
}

export function mknod(s: Session, h: RequestHeader, r: RequestOf<'mknod'>, by: Caller): Served {
  return s.entry(h, s.vfs.mknod(s.swapRoot(h.nodeId), r.name, r.mode, r.rdev, s.creator(by, r.umask)));
}

export function mkdir(s: Session, h: RequestHeader, r: RequestOf<'mkdir'>, by: Caller): Served {
  return s.entry(h, s.vfs.mkdir(s.swapRoot(h.nodeId), r.name, r.mode, s.creator(by, r.umask)));
}

export function symlink(s: Session, h: RequestHeader, r: RequestOf<'symlink'>, by: Caller): Served {
  return s.entry(h, s.vfs.symlink(s.swapRoot(h.nodeId), r.name, r.target, by));
}

export function readlink(s: Session, h: RequestHeader, by: Caller): Served {
  return s.answer(h, s.vfs.readlink(s.swapRoot(h.nodeId), by), (target) => s.reply.data(target));
}

export function link(s: Session, h: RequestHeader, r: RequestOf<'link'>, by: Caller): Served {
  return s.entry(h, s.vfs.link(s.swapRoot(r.nodeId), s.swapRoot(h.nodeId), r.name, by));
}

export function rename(s: Session, h: RequestHeader, r: RequestOf<'rename'>, by: Caller): Served {
  const from = s.swapRoot(h.nodeId);
  return s.done(h, s.vfs.rename(from, r.name, s.swapRoot(r.toParent), r.toName, r.mode, by));
}

export function create(s: Session, h: RequestHeader, r: RequestOf<'create'>, by: Caller): Served {
  const flags = r.flags & ~openFlag.direct;
  return created(s, h, flags, s.vfs.create(s.swapRoot(h.nodeId), r.name, r.mode, flags, s.creator(by, r.umask)));
}

export function tmpfile(s: Session, h: RequestHeader, r: RequestOf<'tmpfile'>, by: Caller): Served {
  const flags = r.flags & ~openFlag.direct;
  return created(s, h, flags, s.vfs.tmpfile(s.swapRoot(h.nodeId), r.mode, flags, s.creator(by, r.umask)));
}

interface Created {
  readonly attr: Attr;
  readonly handle: Handle;
}

/** A reply that the kernel does not take leaves neither a reference nor an open file behind. */
function created(s: Session, h: RequestHeader, flags: number, reply: Created | Promise<Created>): Served {
  return s.answer(
    h,
    // Without O_EXCL it may be a file that somebody else has made just now, and writes to.
    after(reply, (made) => after(s.files.admit(made.attr.ino, flags), () => made)),
    ({ attr, handle }) => {
      s.references.remember(attr.ino);
      return s.reply.created(attr, handle, s.hand({ handle, ino: attr.ino, flags, keepsPages: true }));
    },
    ({ attr, handle }) => {
      s.references.forget(attr.ino, 1);
      void s.release(handle);
    },
  );
}
