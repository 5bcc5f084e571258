/** Requests about names: lookups, and everything that makes or moves directory entries. */
import { FsError } from '../../errors.ts';
import { after, cancel, cancellable } from '../../reply.ts';
import type { Attr, Caller, Handle, Reply } from '../../vfs.ts';
import { openFlag } from './abi.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Served = Promise<void> | undefined;

/** '.' is asked of files too: the kernel has a number, of a file handle, and wants its inode (fuse_get_dentry). */
export function lookup(s: Session, h: RequestHeader, r: RequestOf<'lookup'>, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  if (r.name === '.') return s.entry(h, s.vfs.getattr(ino, by));
  const found = s.vfs.find(ino, r.name, by);
  if (found === undefined) return s.absent(h);
  const there = found instanceof Promise ? after(found, (attr) => attr ?? noSuchName(ino, r.name)) : found;
  return s.entry(h, there, r.name);
}

function noSuchName(ino: number, name: string): never {
  throw new FsError('ENOENT', { ino, name });
}

export function mknod(s: Session, h: RequestHeader, r: RequestOf<'mknod'>, by: Caller): Served {
  const parent = s.swapRoot(h.nodeId);
  return s.entry(h, s.changing(h, parent, s.vfs.mknod(parent, r.name, r.mode, r.rdev, s.creator(by, r.umask))));
}

export function mkdir(s: Session, h: RequestHeader, r: RequestOf<'mkdir'>, by: Caller): Served {
  const parent = s.swapRoot(h.nodeId);
  return s.entry(h, s.changing(h, parent, s.vfs.mkdir(parent, r.name, r.mode, s.creator(by, r.umask))));
}

export function symlink(s: Session, h: RequestHeader, r: RequestOf<'symlink'>, by: Caller): Served {
  const parent = s.swapRoot(h.nodeId);
  return s.entry(h, s.changing(h, parent, s.vfs.symlink(parent, r.name, r.target, by)));
}

export function readlink(s: Session, h: RequestHeader, by: Caller): Served {
  const ino = s.swapRoot(h.nodeId);
  return s.answer(h, s.changing(h, ino, s.vfs.readlink(ino, by)), (target) => s.reply.data(target));
}

export function link(s: Session, h: RequestHeader, r: RequestOf<'link'>, by: Caller): Served {
  const parent = s.swapRoot(h.nodeId);
  return s.entry(h, s.changing(h, parent, s.vfs.link(s.swapRoot(r.nodeId), parent, r.name, by)));
}

export function rename(s: Session, h: RequestHeader, r: RequestOf<'rename'>, by: Caller): Served {
  const [from, to] = [s.swapRoot(h.nodeId), s.swapRoot(r.toParent)];
  const renamed = () => s.vfs.rename(from, r.name, to, r.toName, r.mode, by);
  if (s.unapplied?.hasOthers(h.pid) !== true) return s.done(h, renamed());
  // The kernel marks ctime of what moves, and we know that only by its name.
  return s.done(
    h,
    after(s.vfs.find(from, r.name, by), (moved) =>
      after(s.vfs.find(to, r.toName, by), (target) => {
        const changed = [from, to, moved?.ino, r.mode === 'exchange' ? target?.ino : undefined];
        return changed.reduce<Reply<void>>(
          (reply, ino) => (ino === undefined ? reply : s.changing(h, ino, reply)),
          renamed(),
        );
      }),
    ),
  );
}

export function create(s: Session, h: RequestHeader, r: RequestOf<'create'>, by: Caller): Served {
  const { flags } = r;
  const parent = s.swapRoot(h.nodeId);
  const make = () => s.vfs.create(parent, r.name, r.mode, flags, s.creator(by, r.umask));
  const made = (flags & openFlag.excl) === 0 ? unlessThere(make) : make();
  return created(s, h, flags, s.changing(h, parent, made));
}

export function tmpfile(s: Session, h: RequestHeader, r: RequestOf<'tmpfile'>, by: Caller): Served {
  const { flags } = r;
  return created(s, h, flags, s.vfs.tmpfile(s.swapRoot(h.nodeId), r.mode, flags, s.creator(by, r.umask)));
}

/**
 * Without O_EXCL open(2) opens what is there, and the kernel asks for CREATE only where it believes that nothing is. A
 * peer may have been faster: told ESTALE the kernel looks once more, and asks nothing that it remembers (do_filp_open, LOOKUP_REVAL).
 */
function unlessThere(make: () => Reply<Created>): Reply<Created> {
  try {
    const made = make();
    return made instanceof Promise ? cancellable(made.catch(lookAgain), () => cancel(made)) : made;
  } catch (error) {
    return lookAgain(error);
  }
}

function lookAgain(error: unknown): never {
  if (error instanceof FsError && error.code === 'EEXIST') throw new FsError('ESTALE', error.context);
  throw error;
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
      s.unapplied?.attributes(h.pid, attr.ino);
      return s.reply.created(attr, handle, s.hand({ handle, ino: attr.ino, flags, keepsPages: true }));
    },
    ({ attr, handle }) => {
      s.references.forget(attr.ino, 1);
      void s.release(handle);
    },
  );
}
