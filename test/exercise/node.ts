/** An inode as the manual pages describe it, its names, and what stat(2), readdir(3) and the attribute calls say of it. */
import { S_IFDIR, S_IFLNK, S_IFREG } from '../posix/support/constants.ts';
import type { Flag } from './flags.ts';
import { type Operation, type Outcome, pattern } from './operations.ts';

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export class Node {
  readonly type: number;
  permissions: number;
  uid: number;
  gid: number;
  links: number;
  /** Of a directory. */
  readonly entries = new Map<string, Node>();
  parent: Node | undefined;
  bytes: Buffer = Buffer.alloc(0);
  /** Of a symbolic link. */
  readonly target: string;
  readonly xattrs = new Map<string, Buffer>();
  /** Immutable or append-only. */
  flag: Flag = 'none';
  /** What is overwritten gets new blocks. */
  isCow = false;
  /** Made by O_TMPFILE and not named yet. */
  isUnnamed = false;

  constructor(type: number, permissions: number, owner: Owner, target = '') {
    this.type = type;
    this.permissions = permissions;
    this.uid = owner.uid;
    this.gid = owner.gid;
    this.links = type === S_IFDIR ? 2 : 1;
    this.target = target;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }
  get isFile(): boolean {
    return this.type === S_IFREG;
  }

  get size(): number {
    return this.type === S_IFLNK ? this.target.length : this.bytes.length;
  }
}

export function dropName(directory: Node, node: Node): void {
  if (node.isDirectory) {
    directory.links--;
    node.links = 0;
  } else node.links--;
}

export function moveTo(from: Node, to: Node, name: string, node: Node): void {
  to.entries.set(name, node);
  if (!node.isDirectory) return;
  from.links--;
  to.links++;
  node.parent = to;
}

export function isBelow(directory: Node, node: Node): boolean {
  for (let at: Node | undefined = directory; at !== undefined; at = at.parent) if (at === node) return true;
  return false;
}

export function chown(node: Node, uid: number, gid: number): void {
  if (uid !== 0xffff_ffff) node.uid = uid;
  if (gid !== 0xffff_ffff) node.gid = gid;
  // chown(2): what runs as somebody else must not do so for a new owner.
  if (!node.isDirectory) dropPrivileges(node);
}

/** Mandatory locking, set-group-ID without execution, keeps its bit. */
export function dropPrivileges(node: Node): void {
  node.permissions &= (node.permissions & 0o010) === 0 ? ~0o4000 : ~0o6000;
}

export function attribute(
  node: Node,
  operation: Extract<Operation, { op: 'setxattr' | 'getxattr' | 'removexattr' | 'listxattr' }>,
): Outcome {
  const { xattrs } = node;
  if (operation.op === 'listxattr') return [...xattrs.keys()].sort();
  const { name } = operation;
  const known = xattrs.get(name);
  if (operation.op === 'removexattr' && name.startsWith('system.posix_acl_')) {
    xattrs.delete(name); // no error where there is none (vfs_remove_acl)
    return 0;
  }
  if (name.startsWith('user.') && !node.isFile && !node.isDirectory)
    return operation.op === 'getxattr' ? 'ENODATA' : 'EPERM';
  switch (operation.op) {
    case 'getxattr':
      return known ?? 'ENODATA';
    case 'removexattr':
      return xattrs.delete(name) ? 0 : 'ENODATA';
    case 'setxattr':
      if (operation.flags === 1 && known !== undefined) return 'EEXIST';
      if (operation.flags === 2 && known === undefined) return 'ENODATA';
      xattrs.set(name, pattern(operation.length, operation.fill));
      return 0;
  }
}

/** The fields of stat(2) that follow from what was done. The size of a directory is the filesystem's own affair. */
export function statOf(node: Node): readonly string[] {
  const { uid, gid, size } = node;
  return statLines({ mode: node.type | node.permissions, nlink: node.links, uid, gid, size });
}

export function statLines(stat: {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  size: number;
}): readonly string[] {
  const isDirectory = (stat.mode & S_IFDIR) === S_IFDIR && (stat.mode & 0o170000) === S_IFDIR;
  return [
    `mode ${stat.mode.toString(8)}`,
    `links ${stat.nlink}`,
    `owner ${stat.uid}:${stat.gid}`,
    ...(isDirectory ? [] : [`size ${stat.size}`]),
  ];
}

export function listing(node: Node): readonly string[] {
  return [...node.entries].map(([name, child]) => entryLine(name, child.type >> 12)).sort();
}

/** @param type DT_* of readdir(3) */
export function entryLine(name: string, type: number): string {
  return `${name} ${type}`;
}
