/**
 * POSIX access control lists (acl(5); POSIX.1e draft 17), kept as the extended attributes that the kernel makes of them
 * (include/uapi/linux/posix_acl_xattr.h). What a list and the mode say about owner, mask and others is always the same.
 */
import { FsError } from '../errors.ts';
import type { Caller } from '../vfs.ts';
import type { Inode } from './inode.ts';

/** Rules who may access the file. */
export const accessAcl = 'system.posix_acl_access';
/** Of a directory: what its new entries get. */
export const defaultAcl = 'system.posix_acl_default';

/** Of acl(5): ACL_USER_OBJ and so on, in the order that they stand in a list. */
const tag = { owner: 1, user: 2, owningGroup: 4, group: 8, mask: 16, other: 32 } as const;

const version = 2;
const headerSize = 4;
const entrySize = 8;

interface Entry {
  readonly tag: number;
  /** Bits 4 read, 2 write, 1 execute. */
  readonly permissions: number;
  /** Of a named user or group. */
  readonly id: number;
}

export type Acl = readonly Entry[];

export function isAcl(name: string): boolean {
  return name === accessAcl || name === defaultAcl;
}

/**
 * An empty list means none.
 * @throws FsError EOPNOTSUPP (a version that nobody has written yet), EINVAL: not a valid list (acl_valid(3))
 */
export function parseAcl(value: Uint8Array): Acl {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (value.length < headerSize || (value.length - headerSize) % entrySize !== 0) throw invalid('its length');
  if (view.getUint32(0, true) !== version) throw new FsError('EOPNOTSUPP', { detail: 'version of an ACL' });
  const entries: Entry[] = [];
  for (let at = headerSize; at < value.length; at += entrySize) {
    entries.push({
      tag: view.getUint16(at, true),
      permissions: view.getUint16(at + 2, true),
      id: view.getUint32(at + 4, true),
    });
  }
  if (entries.length > 0) requireValid(entries);
  return entries;
}

export function encodeAcl(acl: Acl): Uint8Array {
  const bytes = new Uint8Array(headerSize + acl.length * entrySize);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, version, true);
  acl.forEach((entry, i) => {
    const at = headerSize + i * entrySize;
    view.setUint16(at, entry.tag, true);
    view.setUint16(at + 2, entry.permissions, true);
    view.setUint32(at + 4, entry.id, true);
  });
  return bytes;
}

/** Says no more than nine bits of mode do. */
export function isMinimal(acl: Acl): boolean {
  return acl.length === 3;
}

/** The permission bits that stat(2) shows: the mask, where there is one, stands for the group (acl(5)). */
export function permissionsOf(acl: Acl): number {
  const group = acl.find((entry) => entry.tag === tag.mask) ?? acl.find((entry) => entry.tag === tag.owningGroup);
  const of = (wanted: number): number => acl.find((entry) => entry.tag === wanted)?.permissions ?? 0;
  return (of(tag.owner) << 6) | ((group?.permissions ?? 0) << 3) | of(tag.other);
}

/** The list after chmod(2): owner, others, and mask or group follow the mode. */
export function withMode(acl: Acl, mode: number): Acl {
  return adjusted(acl, (entry) => permissionsFor(entry, acl, mode));
}

/**
 * What a new file gets from the default list of its directory: of owner, mask or group, and others only what the mode
 * asks for too. The umask has no say (acl(5), "Object creation and default ACLs").
 */
export function inherited(acl: Acl, mode: number): Acl {
  return adjusted(acl, (entry) => {
    const asked = permissionsFor(entry, acl, mode);
    return asked === undefined ? undefined : entry.permissions & asked;
  });
}

/** The algorithm of acl(5), "Access check algorithm", for whoever is not root. */
export function allows(acl: Acl, inode: Inode, wanted: number, by: Caller): boolean {
  const mask = acl.find((entry) => entry.tag === tag.mask)?.permissions ?? 0o7;
  let isInGroup = false;
  for (const { tag: kind, permissions, id } of acl) {
    const grants = (permissions & wanted) === wanted;
    const isMasked = (mask & wanted) !== wanted;
    if (kind === tag.owner && by.uid === inode.uid) return grants;
    if (kind === tag.user && by.uid === id) return grants && !isMasked;
    if (by.groups.includes(kind === tag.owningGroup ? inode.gid : kind === tag.group ? id : -1)) {
      if (grants) return !isMasked;
      isInGroup = true;
    }
    if (kind === tag.other) return grants && !isInGroup;
  }
  return false;
}

function adjusted(acl: Acl, permissions: (entry: Entry) => number | undefined): Acl {
  return acl.map((entry) => ({ ...entry, permissions: permissions(entry) ?? entry.permissions }));
}

/** What the mode says about an entry; undefined where it says nothing. */
function permissionsFor(entry: Entry, acl: Acl, mode: number): number | undefined {
  const hasMask = acl.some((each) => each.tag === tag.mask);
  switch (entry.tag) {
    case tag.owner:
      return (mode >> 6) & 7;
    case tag.mask:
      return (mode >> 3) & 7;
    case tag.owningGroup:
      return hasMask ? undefined : (mode >> 3) & 7;
    case tag.other:
      return mode & 7;
    default:
      return undefined;
  }
}

/** posix_acl_valid of Linux: tags in their order, one each of those without a name, a mask where names are. */
function requireValid(acl: Acl): void {
  let last = 0;
  for (const entry of acl) {
    const isNamed = entry.tag === tag.user || entry.tag === tag.group;
    const isKnown = isNamed || [tag.owner, tag.owningGroup, tag.mask, tag.other].some((each) => each === entry.tag);
    if (!isKnown || entry.permissions > 7) throw invalid(`an entry of tag ${entry.tag}`);
    if (entry.tag < last || (entry.tag === last && !isNamed)) throw invalid('the order of its entries');
    last = entry.tag;
  }
  const has = (wanted: number): boolean => acl.some((entry) => entry.tag === wanted);
  const isNaming = has(tag.user) || has(tag.group);
  if (!has(tag.owner) || !has(tag.owningGroup) || !has(tag.other) || (isNaming && !has(tag.mask)))
    throw invalid('an entry is missing');
}

function invalid(what: string): FsError {
  return new FsError('EINVAL', { detail: `not a valid access control list: ${what}` });
}
