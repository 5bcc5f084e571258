/** Requests about the content of directories. */
import { FsError } from '../../errors.ts';
import { after } from '../../reply.ts';
import type { Attr, Caller, DirEntry, DirEntryPlus, Handle, Reply } from '../../vfs.ts';
import { kernelLimits } from './limits.ts';
import type { RequestHeader, RequestOf } from './request.ts';
import type { Session } from './session.ts';

type Served = Promise<void> | undefined;

/** Bytes that an entry takes with a name of typical length; more entries than fit would be read for nothing. */
const typicalEntry = 40;
const typicalEntryPlus = 168;

export function opendir(s: Session, h: RequestHeader, by: Caller): Served {
  return s.openedDirectory(h, s.vfs.opendir(s.swapRoot(h.nodeId), by));
}

export function readdir(s: Session, h: RequestHeader, r: RequestOf<'readdir'>, by: Caller): Served {
  const size = Math.min(r.size, kernelLimits.replyMax);
  return s.answer(h, s.vfs.readdir(r.handle, r.offset, Math.ceil(size / typicalEntry), s.lister(by)), (entries) => {
    s.overtake(h, s.swapRoot(h.nodeId)); // the time of access
    let used = 0;
    for (const entry of entries) {
      const next = s.reply.dirent(used, size, entry);
      if (next === used) break;
      used = next;
    }
    return used;
  });
}

/** Entries with their attributes; each counts as a lookup, but for '.' and '..' (fuse_direntplus_link). */
export function readdirplus(s: Session, h: RequestHeader, r: RequestOf<'readdirplus'>, by: Caller): Served {
  const size = Math.min(r.size, kernelLimits.replyMax);
  const most = Math.ceil(size / typicalEntryPlus);
  const remembered: number[] = [];
  return s.answer(
    h,
    list(s, r.handle, r.offset, most, by),
    (entries) => {
      s.overtake(h, s.swapRoot(h.nodeId)); // the time of access
      let used = 0;
      for (const { entry, attr } of entries) {
        const next = s.reply.dirent(used, size, entry, { attr });
        if (next === used) break;
        used = next;
        if (attr !== undefined) {
          s.references.remember(attr.ino);
          remembered.push(attr.ino);
        }
      }
      s.unapplied?.listing(h.pid, remembered);
      return used;
    },
    () => {
      for (const ino of remembered) s.references.forget(ino, 1);
    },
  );
}

function list(s: Session, handle: Handle, cookie: number, most: number, by: Caller): Reply<readonly DirEntryPlus[]> {
  if (s.vfs.readdirPlus !== undefined) return s.vfs.readdirPlus(handle, cookie, most, s.lister(by));
  return after(s.vfs.readdir(handle, cookie, most, s.lister(by)), (entries) => withAttributes(s, entries, by));
}

function withAttributes(s: Session, entries: readonly DirEntry[], by: Caller): Reply<readonly DirEntryPlus[]> {
  const attrs = entries.map((entry) => attributesOf(s, entry, by));
  const plus = (known: readonly (Attr | undefined)[]) => entries.map((entry, i) => ({ entry, attr: known[i] }));
  const known: (Attr | undefined)[] = [];
  for (const attr of attrs) {
    if (attr instanceof Promise) return Promise.all(attrs.map((one) => Promise.resolve(one))).then(plus);
    known.push(attr);
  }
  return plus(known);
}

/** Undefined for '.' and '..', and for an entry that went away meanwhile. */
function attributesOf(s: Session, entry: DirEntry, by: Caller): Reply<Attr | undefined> {
  if (entry.name === '.' || entry.name === '..') return undefined;
  try {
    const attr = s.vfs.getattr(entry.ino, by);
    return attr instanceof Promise ? attr.catch(gone) : attr;
  } catch (error) {
    return gone(error);
  }
}

function gone(error: unknown): undefined {
  if (error instanceof FsError && (error.code === 'ESTALE' || error.code === 'ENOENT')) return undefined;
  throw error;
}
