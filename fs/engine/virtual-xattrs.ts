/**
 * Attributes that are not stored but looked up: what ordinary programs ask of a file that has no system call on a FUSE
 * mount (docs/files.md). They are in no list, so that cp -a, rsync -X and tar do not carry them along. Of the system
 * namespace the kernel asks nothing before it hands a request on (xattr_permission), so that access is decided here.
 */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Caller } from '../vfs.ts';
import { R_OK, requireAccess } from './access.ts';
import { mapLines } from './extent-map.ts';
import { isCow, settableFlags } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { alignmentOf, isPinned } from './pinned.ts';
import { setFlags } from './set-flags.ts';
import type { Volume } from './volume.ts';

const prefix = 'system.iopmemfs.';
/** `on` or `off`: each overwrite is atomic. Set by the owner. */
const cow = `${prefix}cow`;
/** Names out of `append`, `immutable`, `noatime`, in this order, with a space between: what ioctl_iflags(2) knows. */
const flags = `${prefix}flags`;
/** `off`, or the bytes that the place of a pinned file is a multiple of. Set by PIN and UNPIN alone. */
const pinned = `${prefix}pinned`;
/** Where the blocks lie; `.map.OFFSET` from that byte of the file on. */
const map = `${prefix}map`;

const named = [
  ['append', settableFlags.append],
  ['immutable', settableFlags.immutable],
  ['noatime', settableFlags.noatime],
] as const;
const allNamed = named.reduce((sum, [, bit]) => sum | bit, 0);

export function isVirtual(name: string): boolean {
  return name.startsWith(prefix);
}

/** @throws FsError EOPNOTSUPP (no such attribute), EISDIR, EINVAL, EACCES; Wait */
export function getVirtual(v: Volume, inode: Inode, name: string, by: Caller): Uint8Array {
  if (name === cow) return Buffer.from(isCow(inode) ? 'on' : 'off');
  if (name === flags) return Buffer.from(flagNames(inode.flags));
  if (name === pinned) return Buffer.from(isPinned(inode) ? String(alignmentOf(inode)) : 'off');
  const from = mapStart(name);
  if (from === undefined) throw noSuch(inode, name);
  // The kernel has not looked: where the blocks lie is for those who may read them.
  requireAccess(v, inode, R_OK, { ...by, access: 'engine' });
  return mapLines(v, inode, from, limits.xattrValueMax);
}

/** @throws FsError EINVAL (no such value), EOPNOTSUPP, EPERM, EROFS; Wait */
export function setVirtual(v: Volume, inode: Inode, name: string, value: Uint8Array, by: Caller): void {
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  if (name === cow) {
    if (text !== 'on' && text !== 'off') throw new FsError('EINVAL', { ino: inode.ino, name, detail: 'on or off' });
    setFlags(v, inode, settableFlags.cow, text === 'on' ? settableFlags.cow : 0, by);
  } else if (name === flags) setFlags(v, inode, allNamed, flagsOf(inode, text), by);
  else throw noSuch(inode, name);
}

function flagNames(bits: number): string {
  return named.flatMap(([name, bit]) => ((bits & bit) === 0 ? [] : [name])).join(' ');
}

function flagsOf(inode: Inode, text: string): number {
  let bits = 0;
  for (const word of text.split(' ').filter((each) => each !== '')) {
    const known = named.find(([name]) => name === word);
    if (known === undefined) {
      const detail = `${word} is none of ${named.map(([name]) => name).join(', ')}`;
      throw new FsError('EOPNOTSUPP', { ino: inode.ino, name: flags, detail });
    }
    bits |= known[1];
  }
  return bits;
}

/** The byte that a `map` attribute begins with; undefined: it is none. */
function mapStart(name: string): number | undefined {
  if (name === map) return 0;
  const found = /^\.(0|[1-9][0-9]{0,15})$/.exec(name.startsWith(map) ? name.slice(map.length) : '')?.[1];
  return found === undefined ? undefined : Number(found);
}

function noSuch(inode: Inode, name: string): FsError {
  return new FsError('EOPNOTSUPP', { ino: inode.ino, name });
}
