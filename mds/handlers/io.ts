/** Open files and their data through the server: RFC 8881 §18.2, §18.3, §18.16, §18.22, §18.32; RFC 7862. */
import { constants } from 'node:fs';
import { type ErrnoName, FsError } from '../../fs/errors.ts';
import { type Name, nameFromBytes } from '../../fs/name.ts';
import type { Attr, Handle } from '../../fs/vfs.ts';
import { inSession, type Service, type SessionCall } from '../context.ts';
import { serverLimits } from '../limits.ts';
import { attrToWire, modeFromWire, stateIdFromWire, stateIdToWire } from '../protocol/fields.ts';
import type { ReplyOf, RequestOf } from '../protocol/operation.ts';
import { fallocateModes, openTarget, operations, seekWhences, shareAccess, stableHow } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';
import { requireReclaimed } from '../reclaim.ts';
import { member } from './member.ts';
import { withUmask } from './umask.ts';

type OpenArgs = RequestOf<typeof operations.OPEN>;

export const ioServices: readonly Service[] = [
  inSession(operations.OPEN, async (args, call) => {
    const { opens, clients } = call.context;
    requireReclaimed(call.client);
    // What somebody keeps by courtesy is the first to go; the client asks again.
    if (!opens.hasRoomFor(call.client.id)) clients.endOldestCourtesy();
    return await opens.withPlace(call.client.id, () => addOpen(args, call));
  }),

  inSession(operations.CLOSE, async ([stateid], { context, client }) => {
    const open = context.opens.find(stateIdFromWire(stateid), client.id);
    await context.opens.close(open);
    context.returnOnClose.closed(open.ino, client.id);
    return [];
  }),

  inSession(operations.READ, async ([stateid, offset, count], { context, client, caller }) => {
    const open = context.opens.findFor('read', stateIdFromWire(stateid), client.id);
    const data = await context.fs.vfs.read(open.handle, offset, count, caller, (pieces) => Buffer.concat(pieces));
    context.counters.bytesRead += data.length;
    return [data, data.length < count];
  }),

  inSession(operations.WRITE, async ([stateid, offset, how, data], { context, client, caller }) => {
    const open = context.opens.findFor('write', stateIdFromWire(stateid), client.id);
    const count = await context.fs.vfs.write(open.handle, offset, data, caller);
    context.counters.bytesWritten += count;
    if (how !== stableHow.unstable) await context.fs.vfs.fsync(open.ino, how === stableHow.dataSync);
    return [count, how, context.writeVerifier];
  }),

  inSession(operations.COMMIT, async ([ino, dataOnly], { context }) => {
    await context.fs.vfs.fsync(ino, dataOnly);
    return [context.writeVerifier];
  }),

  inSession(operations.FALLOCATE, async ([stateid, mode, offset, length], { context, client, caller }) => {
    const open = context.opens.findFor('write', stateIdFromWire(stateid), client.id);
    await context.fs.vfs.fallocate(open.handle, member(fallocateModes, mode), offset, length, caller);
    await context.fs.vfs.fsync(open.ino, false);
    return [];
  }),

  inSession(operations.SEEK, async ([stateid, offset, whence], { context, client, caller }) => {
    const open = context.opens.findFor('read', stateIdFromWire(stateid), client.id);
    return [await context.fs.vfs.seek(open.handle, offset, member(seekWhences, whence), caller)];
  }),

  inSession(operations.COPY, async ([from, fromOffset, to, toOffset, length], { context, client, caller }) => {
    const source = context.opens.findFor('read', stateIdFromWire(from), client.id);
    const target = context.opens.findFor('write', stateIdFromWire(to), client.id);
    const { vfs } = context.fs;
    const count = await vfs.copyRange(source.handle, fromOffset, target.handle, toOffset, length, caller);
    await vfs.fsync(target.ino, false);
    return [count];
  }),
];

async function addOpen(
  [target, access, truncate, append]: OpenArgs,
  call: SessionCall,
): Promise<ReplyOf<typeof operations.OPEN>> {
  const { context, client } = call;
  const { attr, handle } = await openFile(target, openFlags(access, truncate, append), call);
  if (context.clients.find(client.id) !== client) await context.fs.vfs.release(handle);
  context.clients.requireLiving(client);
  const stateid = context.opens.add({
    client: client.id,
    ino: attr.ino,
    handle,
    read: access !== shareAccess.write,
    write: access !== shareAccess.read,
  });
  if (truncate) await context.fs.vfs.fsync(attr.ino, false);
  return [stateIdToWire(stateid), attrToWire(attr)];
}

function openFlags(access: OpenArgs[1], truncate: boolean, append: boolean): number {
  const mode = { 1: constants.O_RDONLY, 2: constants.O_WRONLY, 3: constants.O_RDWR }[access];
  return mode | (truncate ? constants.O_TRUNC : 0) | (append ? constants.O_APPEND : 0);
}

interface Opened {
  readonly attr: Attr;
  readonly handle: Handle;
}

async function openFile(target: OpenArgs[0], flags: number, call: SessionCall): Promise<Opened> {
  const { context, caller } = call;
  const { vfs } = context.fs;
  switch (target[0]) {
    case openTarget.inode:
      return openInode(target[1], flags, call);
    case openTarget.name:
      return openInode((await vfs.lookup(target[1], nameFromBytes(target[2]), caller)).ino, flags, call);
    case openTarget.create: {
      const [, parent, name, wireMode, exclusive] = target;
      const { mode, umask } = modeFromWire(wireMode);
      const creating = { ...call, caller: withUmask(caller, umask) };
      return openOrCreate(parent, nameFromBytes(name), mode, flags, exclusive, creating);
    }
    case openTarget.unnamed: {
      const { mode, umask } = modeFromWire(target[2]);
      return vfs.tmpfile(target[1], mode, flags, withUmask(caller, umask));
    }
  }
}

async function openInode(ino: number, flags: number, { context, caller }: SessionCall): Promise<Opened> {
  const { vfs } = context.fs;
  const handle = await vfs.open(ino, flags, caller);
  try {
    return { attr: await vfs.getattr(ino, caller), handle };
  } catch (error) {
    await vfs.release(handle);
    throw error;
  }
}

/** The filesystem only ever creates what is not there; names come and go between the two looks. */
async function openOrCreate(
  parent: number,
  name: Name,
  mode: number,
  flags: number,
  exclusive: boolean,
  call: SessionCall,
): Promise<Opened> {
  const { context, caller } = call;
  const { vfs } = context.fs;
  for (let round = 0; round < serverLimits.createRoundsMax; round++) {
    try {
      return await vfs.create(parent, name, mode, flags | constants.O_CREAT | constants.O_EXCL, caller);
    } catch (error) {
      if (exclusive || !isErrno(error, 'EEXIST')) throw error;
    }
    try {
      return await openInode((await vfs.lookup(parent, name, caller)).ino, flags, call);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
  throw new StatusError('DELAY', 'the name comes and goes', 'EAGAIN');
}

function isErrno(error: unknown, code: ErrnoName): boolean {
  return error instanceof FsError && error.code === code;
}
