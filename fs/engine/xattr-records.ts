/** Extended attributes as the store keeps them: one record each, resident for an inode once somebody asked. */
import { decodeXattr, encodeXattr } from '../format/codec.ts';
import { parseXattrKey, xattrKey, xattrRange } from '../format/keys.ts';
import { INODE_XATTRS } from '../format/records.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';
import { Wait } from './wait.ts';

/** Of nearly all inodes: one map for them, since each is asked for what it has not. */
export const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/** Sets an attribute of an inode whose attributes are resident. The caller reports the inode changed. */
export function putXattr(v: Volume, inode: Inode, name: string, value: Uint8Array): void {
  const copy = Uint8Array.from(value);
  inode.xattrs = new Map(inode.xattrs).set(name, copy);
  inode.flags |= INODE_XATTRS;
  v.changes.record(xattrKey(inode.ino, name), encodeXattr(copy));
}

/** Takes an attribute that is there off. The caller reports the inode changed. */
export function deleteXattr(v: Volume, inode: Inode, name: string): void {
  const xattrs = new Map(inode.xattrs);
  xattrs.delete(name);
  inode.xattrs = xattrs;
  if (xattrs.size === 0) inode.flags &= ~INODE_XATTRS;
  v.changes.record(xattrKey(inode.ino, name), undefined);
}

/** The inode goes: so do its attributes, which `residentXattrs` has made sure are known. */
export function removeAllXattrs(v: Volume, inode: Inode): void {
  for (const name of inode.xattrs?.keys() ?? []) v.changes.record(xattrKey(inode.ino, name), undefined);
}

/** @throws Wait until they are resident */
export function residentXattrs(v: Volume, inode: Inode): ReadonlyMap<string, Uint8Array> {
  if (inode.xattrs !== undefined) return inode.xattrs;
  if ((inode.flags & INODE_XATTRS) === 0) {
    inode.xattrs = noXattrs;
    return noXattrs;
  }
  inode.xattrsLoading ??= load(v, inode).finally(() => {
    inode.xattrsLoading = undefined;
  });
  throw new Wait(inode.xattrsLoading);
}

async function load(v: Volume, inode: Inode): Promise<void> {
  const xattrs = new Map<string, Uint8Array>();
  const { from, to } = xattrRange(inode.ino);
  for await (const page of v.store.range(from, to)) {
    for (const [key, value] of page) xattrs.set(parseXattrKey(key).name, decodeXattr(key, value));
  }
  inode.xattrs ??= xattrs;
}
