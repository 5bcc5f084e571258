/** Access control lists as acl(5) describes them, kept among the attributes of a node in the form of the kernel. */
import { encodeAcl, parseAcl } from '../posix/support/acl.ts';
import { S_IFLNK } from '../posix/support/constants.ts';
import type { Node } from './node.ts';
import type { Outcome } from './operations.ts';

export const accessAcl = 'system.posix_acl_access';
export const defaultAcl = 'system.posix_acl_default';
export type AclName = typeof accessAcl | typeof defaultAcl;

const tag = { owner: 1, user: 2, owningGroup: 4, group: 8, mask: 16, other: 32 } as const;

export function setAcl(node: Node, name: AclName, text: string): Outcome {
  if (name === defaultAcl && !node.isDirectory) return 'EACCES';
  const acl = encodeAcl(text);
  if (!isValid(acl)) return 'EINVAL';
  if (name === accessAcl) {
    node.permissions = (node.permissions & ~0o777) | permissionsOf(acl);
    if (isMinimal(acl)) {
      node.xattrs.delete(name);
      return 0;
    }
  }
  node.xattrs.set(name, acl);
  return 0;
}

/** After chmod(2). */
export function followMode(node: Node): void {
  const acl = node.xattrs.get(accessAcl);
  if (acl !== undefined)
    node.xattrs.set(
      accessAcl,
      masked(acl, (_, asked) => asked, node.permissions),
    );
}

/** Something made in the directory: its default list decides, or the umask where there is none. */
export function inherit(node: Node, directory: Node, umask: number): void {
  if (node.type === S_IFLNK) return;
  const acl = directory.xattrs.get(defaultAcl);
  if (acl === undefined) {
    node.permissions &= ~umask;
    return;
  }
  const access = masked(acl, (has, asked) => has & asked, node.permissions);
  node.permissions = (node.permissions & ~0o777) | permissionsOf(access);
  if (!isMinimal(access)) node.xattrs.set(accessAcl, access);
  if (node.isDirectory) node.xattrs.set(defaultAcl, acl);
}

function permissionsOf(acl: Buffer): number {
  const of = (wanted: number): number | undefined => parseAcl(acl).find((entry) => entry.tag === wanted)?.permissions;
  return ((of(tag.owner) ?? 0) << 6) | ((of(tag.mask) ?? of(tag.owningGroup) ?? 0) << 3) | (of(tag.other) ?? 0);
}

function isMinimal(acl: Buffer): boolean {
  return parseAcl(acl).length === 3;
}

/** Lists made up here are in order; what they may lack is the mask. */
function isValid(acl: Buffer): boolean {
  const entries = parseAcl(acl);
  return entries.every(({ id }) => id === undefined) || entries.some((entry) => entry.tag === tag.mask);
}

/** Owner, others, and the mask or else the group, by what a mode says. */
function masked(acl: Buffer, combine: (has: number, asked: number) => number, mode: number): Buffer {
  const hasMask = parseAcl(acl).some((entry) => entry.tag === tag.mask);
  const shifts = new Map<number, number>([
    [tag.owner, 6],
    [hasMask ? tag.mask : tag.owningGroup, 3],
    [tag.other, 0],
  ]);
  const changed = Buffer.from(acl);
  for (let at = 4; at < changed.length; at += 8) {
    const shift = shifts.get(changed.readUInt16LE(at));
    if (shift !== undefined) changed.writeUInt16LE(combine(changed.readUInt16LE(at + 2), (mode >> shift) & 7), at + 2);
  }
  return changed;
}
