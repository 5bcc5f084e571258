/** Names, attributes, links, extended attributes: RFC 8881 §18, RFC 8276. The filesystem checks and does everything. */

import { FsError } from '../../fs/errors.ts';
import { nameFromBytes, nameToBytes } from '../../fs/name.ts';
import type { Attr, DirEntry } from '../../fs/vfs.ts';
import { inSession, type Service, type SessionCall } from '../context.ts';
import { attrToWire, modeFromWire, setAttrFromWire, stateIdFromWire } from '../protocol/fields.ts';
import { wireLimits } from '../protocol/limits.ts';
import type { ReplyOf } from '../protocol/operation.ts';
import { createKind, operations, renameModes, xattrModes } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';
import { member } from './member.ts';
import { withUmask } from './umask.ts';

export const namespaceServices: readonly Service[] = [
  inSession(operations.LOOKUP, async ([parent, name], { context, caller }) => [
    attrToWire(await context.fs.vfs.lookup(parent, nameFromBytes(name), caller)),
  ]),

  inSession(operations.LOOKUPP, async ([ino], { context, caller }) => [
    attrToWire(await context.fs.vfs.lookup(ino, '..', caller)),
  ]),

  inSession(operations.GETATTR, async ([ino], { context, caller }) => [
    attrToWire(await context.fs.vfs.getattr(ino, caller)),
  ]),

  inSession(operations.SETATTR, async ([ino, stateid, changes], { context, client, caller }) => {
    const open = stateid === null ? undefined : context.opens.findFor('write', stateIdFromWire(stateid), client.id);
    if (open !== undefined && open.ino !== ino)
      throw new StatusError('BAD_STATEID', `the open is of inode ${open.ino}`);
    const attr = await context.fs.vfs.setattr(ino, setAttrFromWire(changes), caller, open?.handle);
    // A later COMMIT would not tell that a restart has lost it: there is no verifier of it as there is of a WRITE.
    if (setAttrFromWire(changes).size !== undefined) await context.fs.vfs.fsync(ino, false);
    return [attrToWire(attr)];
  }),

  inSession(operations.ACCESS, async ([ino, mask], { context, caller }) => {
    await context.fs.vfs.access(ino, mask, caller);
    return [];
  }),

  inSession(operations.READDIR, ([ino, cookie, most, withAttrs], call) => readdir(ino, cookie, most, withAttrs, call)),

  inSession(operations.READLINK, async ([ino], { context, caller }) => [await context.fs.vfs.readlink(ino, caller)]),

  inSession(operations.CREATE, async ([parent, name, what], call) => [
    attrToWire(await create(parent, name, what, call)),
  ]),

  inSession(operations.REMOVE, async ([parent, name, directory], { context, caller }) => {
    const { vfs } = context.fs;
    if (directory) await vfs.rmdir(parent, nameFromBytes(name), caller);
    else await vfs.unlink(parent, nameFromBytes(name), caller);
    return [];
  }),

  inSession(operations.RENAME, async ([parent, name, toParent, toName, mode], { context, caller }) => {
    const how = member(renameModes, mode);
    await context.fs.vfs.rename(parent, nameFromBytes(name), toParent, nameFromBytes(toName), how, caller);
    return [];
  }),

  inSession(operations.LINK, async ([ino, parent, name], { context, caller }) => [
    attrToWire(await context.fs.vfs.link(ino, parent, nameFromBytes(name), caller)),
  ]),

  inSession(operations.GETXATTR, async ([ino, name], { context, caller }) => [
    await context.fs.vfs.getxattr(ino, latin1(name), caller),
  ]),

  inSession(operations.SETXATTR, async ([ino, name, value, mode], { context, caller }) => {
    await context.fs.vfs.setxattr(ino, latin1(name), value, member(xattrModes, mode), caller);
    return [];
  }),

  inSession(operations.LISTXATTRS, async ([ino], { context, caller }) => {
    const names = await context.fs.vfs.listxattr(ino, caller);
    if (names.length > wireLimits.xattrsMax) throw new StatusError('TOOSMALL', `${names.length} attributes`, 'E2BIG');
    return [names.map((name) => Buffer.from(name, 'latin1'))];
  }),

  inSession(operations.REMOVEXATTR, async ([ino, name], { context, caller }) => {
    await context.fs.vfs.removexattr(ino, latin1(name), caller);
    return [];
  }),
];

function create(
  parent: number,
  name: Uint8Array,
  what: readonly [2, number] | readonly [5, Uint8Array] | readonly [1, number, number],
  { context, caller }: SessionCall,
) {
  const { vfs } = context.fs;
  if (what[0] === createKind.symlink) return vfs.symlink(parent, nameFromBytes(name), what[1], caller);
  const { mode, umask } = modeFromWire(what[1]);
  const by = withUmask(caller, umask);
  if (what[0] === createKind.directory) return vfs.mkdir(parent, nameFromBytes(name), mode, by);
  return vfs.mknod(parent, nameFromBytes(name), mode, what[2], by);
}

async function readdir(
  ino: number,
  cookie: number,
  most: number,
  withAttrs: boolean,
  { context, caller }: SessionCall,
): Promise<ReplyOf<typeof operations.READDIR>> {
  const { vfs } = context.fs;
  const handle = await vfs.opendir(ino, caller);
  try {
    const entries = await vfs.readdir(handle, cookie, most, caller);
    const listed: ReplyOf<typeof operations.READDIR>[0] = [];
    for (const entry of entries) {
      const attr = withAttrs ? await attrOf(entry) : undefined;
      listed.push([
        nameToWire(entry),
        entry.ino,
        entry.type,
        entry.cookie,
        attr === undefined ? null : attrToWire(attr),
      ]);
    }
    return [listed, entries.length === 0];
  } finally {
    await vfs.release(handle);
  }

  /** undefined: the name went while the listing was made. */
  async function attrOf(entry: DirEntry): Promise<Attr | undefined> {
    try {
      return await vfs.getattr(entry.ino, caller);
    } catch (error) {
      if (error instanceof FsError && (error.code === 'ENOENT' || error.code === 'ESTALE')) return undefined;
      throw error;
    }
  }
}

function nameToWire({ name }: DirEntry): Uint8Array {
  return name === '.' || name === '..' ? Buffer.from(name, 'latin1') : nameToBytes(name);
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
